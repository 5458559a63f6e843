//! Every answer that is no success: what it says, in the form that FastAPI clients know (`detail`), with a stable
//! `code` and the `request_id` beside it. `fault` holds the entries of a 422; `cause` turns what went wrong
//! further in into one of these.
//!
//! The request's id is not known where a problem arises, so `edge` writes the body.

mod conversions;
mod validation_error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store::Position;

pub(crate) use validation_error::{Loc, ValidationError};

use super::extract::RequestId;

/// Why a request did not succeed. What went wrong inside (`cause`) is for the log alone.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum ApiError {
    /// No token was sent.
    NotAuthenticated,
    /// The token is not good.
    InvalidToken,
    /// The token's user may not log in.
    InactiveUser,
    /// A later event ended the token.
    TokenRevoked,
    /// The caller has no role for it.
    Forbidden,
    /// There is no such user.
    UserNotFound,
    /// There is no such read model.
    ProjectionNotFound,
    /// There is no such webhook, or it is another's.
    WebhookNotFound,
    /// The log has no such event.
    EventNotFound,
    /// As things are it cannot be done: a code, and how things are.
    Conflict { code: &'static str, detail: String },
    /// There is nothing at this path.
    NotFound,
    /// There is, but not for this method.
    MethodNotAllowed,
    /// Another user has the e-mail address.
    EmailTaken,
    /// Another user has the username.
    UsernameTaken,
    /// No user has this e-mail address and this password.
    InvalidCredentials,
    /// They are right, but the user may not log in.
    InactiveLogin,
    /// A caller who is logged in gave a wrong password.
    WrongPassword,
    /// Nobody would be left to administer the service.
    LastAdministrator,
    /// The user has changed since the caller looked.
    VersionMismatch,
    /// A write under the same idempotency key has begun and not ended.
    RequestInProgress,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// What the first request under the idempotency key has made was erased since.
    ResourceErased,
    /// FieldReader, parameters or headers are not what they have to be.
    Invalid(Vec<ValidationError>),
    /// The login form is not, with the error code of RFC 6749 §5.2.
    InvalidForm { errors: Vec<ValidationError>, error: &'static str },
    /// The body cannot even be judged.
    UnreadableBody(String),
    /// The body is too large.
    BodyTooLarge,
    /// The body took too long.
    BodyTooSlow,
    /// The database is out of reach.
    Unavailable { cause: String },
    /// Nobody can tell whether the write happened.
    OutcomeUnknown { cause: String },
    /// The read model is behind the log.
    ProjectionBehind { cause: String },
    /// Too much is asked at once.
    Busy { cause: String },
    /// The caller follows the log too often at once.
    TooManyReaders,
    /// It is our error.
    Internal { cause: String },
    /// A refusal by the HTTP library.
    Other(StatusCode),
}

/// The body of the answer.
#[derive(Serialize)]
struct Body<'a> {
    detail: Detail<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'static str>,
    code: &'static str,
    request_id: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Detail<'a> {
    Text(&'a str),
    Errors(&'a [ValidationError]),
}

impl ApiError {
    /// One bad field, parameter or header.
    pub(crate) fn invalid(error: ValidationError) -> Self {
        Self::Invalid(vec![error])
    }

    /// A position that the log does not have, or not yet.
    pub(crate) fn beyond_head(loc: Loc, asked: Position, head: Position) -> Self {
        Self::invalid(ValidationError::too_large(loc, head.get(), &asked.to_string()))
    }

    /// As many addresses of webhooks are looked at as may be at once.
    pub(crate) fn too_many_checks() -> Self {
        Self::Busy { cause: "too many addresses of webhooks are looked at at once".to_owned() }
    }

    /// The problem of an answer that a library made.
    pub(crate) fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::INTERNAL_SERVER_ERROR => {
                Self::Internal { cause: "a library answered 500 without a word".to_owned() }
            }
            other => Self::Other(other),
        }
    }

    /// The body, as JSON.
    pub(crate) fn render(&self, request_id: &RequestId) -> Vec<u8> {
        let ((_, code), text) = (self.code(), self.text());
        let (error, error_description) = match self {
            Self::InvalidCredentials | Self::InactiveLogin => (Some("invalid_grant"), Some(text)),
            Self::InvalidForm { error, .. } => (Some(*error), Some(text)),
            _ => (None, None),
        };
        let detail = match self {
            Self::Invalid(errors) | Self::InvalidForm { errors, .. } => Detail::Errors(errors),
            Self::UnreadableBody(why) | Self::Conflict { detail: why, .. } => Detail::Text(why),
            _ => Detail::Text(text),
        };
        let body = Body { detail, error, error_description, code, request_id: request_id.as_str() };
        // Texts and lists of texts always serialise.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// What is to be logged and never answered.
    pub(crate) fn cause(&self) -> Option<&str> {
        match self {
            Self::Unavailable { cause }
            | Self::OutcomeUnknown { cause }
            | Self::ProjectionBehind { cause }
            | Self::Busy { cause }
            | Self::Internal { cause } => Some(cause),
            _ => None,
        }
    }

    /// Status and code.
    fn code(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::NotAuthenticated => (S::UNAUTHORIZED, "not_authenticated"),
            Self::InvalidToken => (S::FORBIDDEN, "invalid_token"),
            Self::InactiveUser => (S::FORBIDDEN, "inactive_user"),
            Self::TokenRevoked => (S::FORBIDDEN, "token_revoked"),
            Self::Forbidden => (S::FORBIDDEN, "forbidden"),
            Self::UserNotFound
            | Self::ProjectionNotFound
            | Self::WebhookNotFound
            | Self::EventNotFound
            | Self::NotFound => (S::NOT_FOUND, "not_found"),
            Self::Conflict { code, .. } => (S::CONFLICT, *code),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::EmailTaken => (S::BAD_REQUEST, "email_taken"),
            Self::UsernameTaken => (S::BAD_REQUEST, "username_taken"),
            Self::InvalidCredentials => (S::BAD_REQUEST, "invalid_credentials"),
            Self::InactiveLogin => (S::BAD_REQUEST, "inactive_user"),
            Self::WrongPassword => (S::BAD_REQUEST, "wrong_password"),
            Self::LastAdministrator => (S::CONFLICT, "last_admin"),
            Self::VersionMismatch => (S::PRECONDITION_FAILED, "version_mismatch"),
            Self::RequestInProgress => (S::CONFLICT, "still_running"),
            Self::IdempotencyKeyReused => (S::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Self::ResourceErased => (S::GONE, "erased"),
            Self::Invalid(_) | Self::InvalidForm { .. } => (S::UNPROCESSABLE_ENTITY, "validation_error"),
            Self::UnreadableBody(_) => (S::BAD_REQUEST, "unreadable_body"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BodyTooSlow => (S::REQUEST_TIMEOUT, "body_too_slow"),
            Self::Unavailable { .. } => (S::SERVICE_UNAVAILABLE, "unavailable"),
            Self::OutcomeUnknown { .. } => (S::SERVICE_UNAVAILABLE, "outcome_unknown"),
            Self::ProjectionBehind { .. } => (S::SERVICE_UNAVAILABLE, "projection_behind"),
            Self::Busy { .. } => (S::SERVICE_UNAVAILABLE, "busy"),
            Self::TooManyReaders => (S::TOO_MANY_REQUESTS, "too_many_readers"),
            Self::Internal { .. } => (S::INTERNAL_SERVER_ERROR, "internal"),
            Self::Other(status) => (*status, "http_error"),
        }
    }

    /// The words, which the predecessor's clients may compare.
    fn text(&self) -> &'static str {
        match self {
            Self::NotAuthenticated => "Not authenticated",
            Self::InvalidToken | Self::TokenRevoked => "Could not validate credentials",
            Self::InactiveUser | Self::InactiveLogin => "Inactive user",
            Self::Forbidden => "Not enough permissions",
            Self::UserNotFound => "User not found",
            Self::ProjectionNotFound => "There is no such read model",
            Self::WebhookNotFound => "There is no such webhook",
            Self::EventNotFound => "The log has no event at this position",
            Self::Conflict { .. } => "As things are, this cannot be done",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::EmailTaken => "The user with this email already exists in the system.",
            Self::UsernameTaken => "The user with this username already exists in the system.",
            Self::InvalidCredentials => "Incorrect email or password",
            Self::WrongPassword => "Incorrect password",
            Self::LastAdministrator => {
                "This is the last active administrator; make another user administrator first"
            }
            Self::VersionMismatch => {
                "The user has changed meanwhile; read it again and repeat with its new ETag"
            }
            Self::RequestInProgress => {
                "A request with this Idempotency-Key is still being worked on; ask again in a moment"
            }
            Self::IdempotencyKeyReused => {
                "This Idempotency-Key was used for another request; make a new key for each write"
            }
            Self::ResourceErased => "What this request has made was erased since",
            Self::Invalid(_) => "The request is not valid",
            Self::InvalidForm { .. } => "The form is not valid; see `detail`",
            Self::UnreadableBody(_) => "There was an error parsing the body",
            Self::BodyTooLarge => "The request body is larger than 64 KiB",
            Self::BodyTooSlow => "The request body took longer than 30 s",
            Self::Unavailable { .. } => "The database is out of reach; try again later",
            Self::OutcomeUnknown { .. } => {
                "Nobody can tell whether this was done; send it again under the same Idempotency-Key, or read back first"
            }
            Self::ProjectionBehind { .. } => "The read model is behind the event log; try again in a moment",
            Self::Busy { .. } => "The service is busy; try again in a moment",
            Self::TooManyReaders => "You follow the log 100 times already; end one of those first",
            Self::Internal { .. } => "Internal Server Error",
            Self::Other(status) => status.canonical_reason().unwrap_or("Error"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, _) = self.code();
        let mut response = status.into_response();
        let headers = response.headers_mut();
        if matches!(self, Self::NotAuthenticated) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
