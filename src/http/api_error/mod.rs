//! Error answers: FastAPI's `detail`, with a stable `code` and the `request_id`. `validation_error` has the
//! entries of a 422; `conversions` maps the errors of inner layers.
//!
//! Where an error is created the request id is not known, so `middleware` renders the body.

mod conversions;
mod validation_error;

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store::Position;

pub(crate) use validation_error::{Loc, ValidationError};

use super::headers::{RATE_LIMIT, RATE_LIMIT_POLICY};
use super::request_id::RequestId;
use crate::limits::{LimitExceeded, Policy};

/// Event streams and long polls of one user.
const READERS: Policy = Policy::concurrent("event-readers", 100);
const READERS_RETRY: Duration = Duration::from_secs(1);

/// Why a request failed. The texts of internal failures are only logged, never answered.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum ApiError {
    /// No bearer token.
    NotAuthenticated,
    /// A client of an endpoint of OAuth is not authenticated (RFC 6749 §5.2).
    InvalidClient(Challenge),
    /// The token is malformed, expired or wrongly signed.
    InvalidToken,
    /// The token of a link in a mail is not one, of another purpose, expired, used or void.
    InvalidMailToken,
    /// The token's user may not log in.
    InactiveUser,
    /// An event after the token was issued (deactivation, loss of a role) revoked it.
    TokenRevoked,
    /// The caller is a machine token, and the request concerns the user who makes it.
    UserRequired,
    /// The session of the token has ended.
    SessionEnded,
    /// The caller lacks the role.
    Forbidden,
    /// A request of the console that a page of another origin may have sent.
    CrossOrigin,
    UserNotFound,
    ProjectionNotFound,
    /// The webhook does not exist, or belongs to another user.
    WebhookNotFound,
    TokenNotFound,
    EventNotFound,
    /// The caller has no open session with that id.
    SessionNotFound,
    /// The current state does not allow the request.
    Conflict {
        code: &'static str,
        detail: String,
    },
    /// No route matches the path.
    NotFound,
    /// A route matches the path, but not the method.
    MethodNotAllowed,
    EmailTaken,
    UsernameTaken,
    /// Another user has a username that looks the same.
    UsernameConfusable,
    /// Login: no user has this e-mail address and password.
    InvalidCredentials,
    /// Login: the credentials are correct, but the user is deactivated.
    InactiveLogin,
    /// The refresh token is not one, or void: its session has ended or expired, or it was used up.
    InvalidGrant,
    /// A request to an endpoint of OAuth that is not valid, with the error code of RFC 6749 §5.2.
    OAuth {
        error: &'static str,
        detail: String,
    },
    /// The confirmation with the current password failed.
    WrongPassword,
    /// The change would leave no active administrator.
    LastAdministrator,
    /// `If-Match` names another version.
    VersionMismatch,
    /// A write with the same idempotency key is in progress.
    RequestInProgress,
    /// The idempotency key was used for a different request.
    IdempotencyKeyReused,
    /// The resource created by the first request with the idempotency key has been erased.
    ResourceErased,
    /// Invalid fields, parameters or headers.
    Invalid(Vec<ValidationError>),
    /// An invalid login form, with the error code of RFC 6749 §5.2.
    InvalidForm {
        errors: Vec<ValidationError>,
        error: &'static str,
    },
    /// The body is not parsable.
    UnreadableBody(String),
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The database is unreachable; nothing was done.
    Unavailable(String),
    /// The service is starting; nothing was done.
    Starting,
    /// The write may or may not have been executed.
    OutcomeUnknown(String),
    /// The clock of the machine jumped ahead; nothing was done.
    ClockJumped(String),
    /// The read model lags behind the log.
    ProjectionBehind(String),
    /// A row of a read model was changed in the database; an operator has to rebuild it.
    RowTampered(String),
    /// A queue or a limit is exhausted.
    Busy(String),
    /// The client has too many requests in progress, or leaves too much of its answers unread.
    TooManyRequests,
    /// The caller has too many event streams and long polls open.
    TooManyReaders,
    /// Too many test deliveries, or commands to one webhook.
    TooManyWebhookRequests(LimitExceeded),
    /// The client exceeds a limit.
    RateLimited(LimitExceeded),
    /// Logins of the account are delayed after repeated failures. Whether a user has it is not disclosed.
    TooManyFailures(LimitExceeded),
    /// The client's share of the password-hashing queue, or all of it, is exhausted.
    HashingQueueFull(LimitExceeded),
    /// A bug, or damaged data.
    Internal(String),
    /// An error status of the HTTP library.
    Other(StatusCode),
}

/// How a client is asked to authenticate: by the scheme that it used.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Challenge {
    Basic,
    Bearer,
    /// A bearer token was presented, and is not valid (RFC 6750 §3).
    BearerInvalid,
}

impl Challenge {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "Basic realm=\"aegis\", charset=\"UTF-8\"",
            Self::Bearer => "Bearer",
            Self::BearerInvalid => "Bearer error=\"invalid_token\"",
        }
    }
}

/// An error answer; `detail` is a message or, with code `validation_error`, one entry per error.
#[derive(Serialize)]
pub(crate) struct ErrorBody<'a, D: ?Sized> {
    detail: &'a D,
    /// At endpoints of OAuth only: the error code of RFC 6749.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    /// At endpoints of OAuth only.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'a str>,
    code: &'static str,
    /// The id in the header `X-Request-Id` and in the logs.
    request_id: &'a str,
}

impl ApiError {
    /// One invalid field, parameter or header.
    pub(crate) fn invalid(error: ValidationError) -> Self {
        Self::Invalid(vec![error])
    }

    /// A position that the log has not reached.
    pub(crate) fn beyond_head(loc: Loc, position: Position, head: Position) -> Self {
        Self::invalid(ValidationError::too_large(loc, head.get(), &position.to_string()))
    }

    /// The limit of concurrent checks of webhook addresses is reached.
    pub(crate) fn too_many_address_checks() -> Self {
        Self::Busy("too many webhook addresses are being checked".to_owned())
    }

    /// The error of a response that a library created.
    pub(crate) fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::INTERNAL_SERVER_ERROR => {
                Self::Internal("a library answered 500 without a cause".to_owned())
            }
            other => Self::Other(other),
        }
    }

    /// Whether the token presented is void, for whatever reason.
    pub(crate) fn is_void_token(&self) -> bool {
        matches!(
            self,
            Self::InvalidToken
                | Self::InactiveUser
                | Self::TokenRevoked
                | Self::SessionEnded
                | Self::UserNotFound
        )
    }

    /// The JSON body.
    pub(crate) fn render(&self, request_id: &RequestId) -> Vec<u8> {
        let ((_, code), message) = (self.status_and_code(), self.message());
        let (error, error_description) = match self {
            Self::InvalidCredentials | Self::InactiveLogin | Self::InvalidGrant => {
                (Some("invalid_grant"), Some(message))
            }
            Self::InvalidClient(_) => (Some("invalid_client"), Some(message)),
            Self::OAuth { error, detail } => (Some(*error), Some(&**detail)),
            Self::InvalidForm { error, .. } => (Some(*error), Some(message)),
            _ => (None, None),
        };
        let request_id = request_id.as_str();
        let detail = match self {
            Self::Invalid(detail) | Self::InvalidForm { errors: detail, .. } => {
                let body = ErrorBody { detail: &detail[..], error, error_description, code, request_id };
                // Strings and lists of strings always serialise.
                return serde_json::to_vec(&body).unwrap_or_default();
            }
            Self::UnreadableBody(detail) | Self::Conflict { detail, .. } | Self::OAuth { detail, .. } => {
                detail
            }
            _ => message,
        };
        let body = ErrorBody { detail, error, error_description, code, request_id };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// Whether the request is at fault, so that repeating it does not help.
    pub(crate) fn is_of_client(&self) -> bool {
        self.status_and_code().0.is_client_error()
    }

    /// The internal cause, which is logged and never answered.
    pub(crate) fn cause(&self) -> Option<&str> {
        match self {
            Self::Unavailable(cause)
            | Self::OutcomeUnknown(cause)
            | Self::ClockJumped(cause)
            | Self::ProjectionBehind(cause)
            | Self::RowTampered(cause)
            | Self::Busy(cause)
            | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }

    /// The limit that the request exceeds.
    fn limit_exceeded(&self) -> Option<LimitExceeded> {
        match self {
            Self::TooManyWebhookRequests(exceeded)
            | Self::RateLimited(exceeded)
            | Self::TooManyFailures(exceeded)
            | Self::HashingQueueFull(exceeded) => Some(*exceeded),
            Self::TooManyReaders => Some(READERS.exceeded(READERS_RETRY)),
            _ => None,
        }
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::NotAuthenticated | Self::InvalidClient(_) => (S::UNAUTHORIZED, "not_authenticated"),
            Self::InvalidToken => (S::FORBIDDEN, "invalid_token"),
            // Not 403, on which front ends log out.
            Self::InvalidMailToken => (S::BAD_REQUEST, "invalid_token"),
            Self::InactiveUser => (S::FORBIDDEN, "inactive_user"),
            Self::TokenRevoked | Self::SessionEnded => (S::FORBIDDEN, "token_revoked"),
            Self::UserRequired => (S::FORBIDDEN, "user_required"),
            Self::Forbidden => (S::FORBIDDEN, "forbidden"),
            Self::CrossOrigin => (S::FORBIDDEN, "cross_origin"),
            Self::UserNotFound
            | Self::ProjectionNotFound
            | Self::WebhookNotFound
            | Self::TokenNotFound
            | Self::EventNotFound
            | Self::SessionNotFound
            | Self::NotFound => (S::NOT_FOUND, "not_found"),
            Self::Conflict { code, .. } => (S::CONFLICT, *code),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::EmailTaken => (S::BAD_REQUEST, "email_taken"),
            Self::UsernameTaken => (S::BAD_REQUEST, "username_taken"),
            Self::UsernameConfusable => (S::BAD_REQUEST, "username_confusable"),
            Self::InvalidCredentials => (S::BAD_REQUEST, "invalid_credentials"),
            Self::InactiveLogin => (S::BAD_REQUEST, "inactive_user"),
            Self::InvalidGrant => (S::BAD_REQUEST, "invalid_grant"),
            Self::OAuth { error, .. } => (S::BAD_REQUEST, *error),
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
            Self::Unavailable(_) => (S::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Starting => (S::SERVICE_UNAVAILABLE, "starting"),
            Self::OutcomeUnknown(_) => (S::SERVICE_UNAVAILABLE, "outcome_unknown"),
            Self::ClockJumped(_) => (S::SERVICE_UNAVAILABLE, "clock_jumped"),
            Self::ProjectionBehind(_) => (S::SERVICE_UNAVAILABLE, "projection_behind"),
            Self::RowTampered(_) => (S::SERVICE_UNAVAILABLE, "row_tampered"),
            Self::Busy(_) | Self::TooManyRequests | Self::HashingQueueFull(_) => {
                (S::SERVICE_UNAVAILABLE, "busy")
            }
            Self::TooManyReaders => (S::TOO_MANY_REQUESTS, "too_many_readers"),
            Self::TooManyWebhookRequests(_) => (S::TOO_MANY_REQUESTS, "too_many_requests"),
            Self::RateLimited(_) => (S::TOO_MANY_REQUESTS, "rate_limited"),
            Self::TooManyFailures(_) => (S::TOO_MANY_REQUESTS, "too_many_failures"),
            Self::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal"),
            Self::Other(status) => (*status, "http_error"),
        }
    }

    /// The message. Clients of the FastAPI service may compare those that it sent too.
    fn message(&self) -> &'static str {
        match self {
            Self::NotAuthenticated | Self::InvalidClient(_) => "Not authenticated",
            Self::InvalidMailToken => {
                "The link is not valid any more: it was used, has expired, or the account has changed"
            }
            Self::InvalidToken | Self::TokenRevoked | Self::SessionEnded => "Could not validate credentials",
            Self::InactiveUser | Self::InactiveLogin => "Inactive user",
            Self::Forbidden => "Not enough permissions",
            Self::CrossOrigin => "This request is accepted from pages of this service only",
            Self::UserNotFound => "User not found",
            Self::ProjectionNotFound => "There is no such read model",
            Self::WebhookNotFound => "There is no such webhook",
            Self::TokenNotFound => "There is no such token",
            Self::OAuth { .. } => "The request is not valid; see `detail`",
            Self::UserRequired => "A machine token cannot do this; log in as a user",
            Self::EventNotFound => "The log has no event at this position",
            Self::SessionNotFound => "There is no such session",
            Self::InvalidGrant => {
                "The refresh token is not valid: the session has ended, or the token was used before"
            }
            Self::Conflict { .. } => "The current state does not allow this",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::EmailTaken => "The user with this email already exists in the system.",
            Self::UsernameTaken => "The user with this username already exists in the system.",
            Self::UsernameConfusable => "The username looks like that of another user.",
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
            Self::ResourceErased => "The resource created by this request has been erased.",
            Self::Invalid(_) => "The request is not valid",
            Self::InvalidForm { .. } => "The form is not valid; see `detail`",
            Self::UnreadableBody(_) => "There was an error parsing the body",
            Self::BodyTooLarge => "The request body is larger than 64 KiB",
            Self::BodyTooSlow => "The request body took longer than 30 s",
            Self::Unavailable(_) => "The database is out of reach; try again later",
            Self::Starting => "The service is starting; try again in a moment",
            Self::OutcomeUnknown(_) => {
                "The outcome of this write is unknown; send it again under the same Idempotency-Key, or read back first"
            }
            Self::ClockJumped(_) => "The clock of the service is wrong; nothing was done",
            Self::ProjectionBehind(_) => "The read model is behind the event log; try again in a moment",
            Self::RowTampered(_) => {
                "The stored data was changed outside the service; trying again does not help before an operator has \
                 restored it"
            }
            Self::Busy(_) | Self::TooManyRequests | Self::HashingQueueFull(_) => {
                "The service is busy; try again in a moment"
            }
            Self::TooManyReaders => "You follow the log 100 times already; end one of those first",
            Self::TooManyWebhookRequests(_) => {
                "Too many requests about this webhook; `Retry-After` says when to try again"
            }
            Self::RateLimited(_) => "Too many requests; `Retry-After` says when to try again",
            Self::TooManyFailures(_) => {
                "Too many failed logins of this account; `Retry-After` says when to try again"
            }
            Self::Internal(_) => "Internal Server Error",
            Self::Other(status) => status.canonical_reason().unwrap_or("Error"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, _) = self.status_and_code();
        let mut response = status.into_response();
        let headers = response.headers_mut();
        let challenge = match self {
            Self::NotAuthenticated => Some(Challenge::Bearer),
            Self::InvalidClient(challenge) => Some(challenge),
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge.as_str()));
        }
        let is_temporary = !matches!(self, Self::RowTampered(_));
        if is_temporary && matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let exceeded = self.limit_exceeded();
            let seconds = exceeded.map_or(1, |exceeded| exceeded.retry_after_seconds());
            headers.insert(header::RETRY_AFTER, seconds.into());
            let shown = exceeded.map(|exceeded| (exceeded.to_string(), exceeded.policy.to_string()));
            // Names of policies and numbers are valid header values.
            if let Some((limit, policy)) = shown
                && let (Ok(limit), Ok(policy)) = (limit.try_into(), policy.try_into())
            {
                headers.insert(RATE_LIMIT, limit);
                headers.insert(RATE_LIMIT_POLICY, policy);
            }
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
