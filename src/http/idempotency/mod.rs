//! Idempotency: a write with an `Idempotency-Key` is executed once, and a repetition is answered with the
//! recorded result of the first execution (a replayed response), whatever has changed since.
//!
//! The store records keyed hashes of the key and of the request in the same transaction as the events, so the
//! guarantee holds across nodes and restarts. Within this process `in_flight` also rejects concurrent
//! duplicates.

pub(super) mod in_flight;

use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use domain::Rejection;
use store::{EventStore, IdempotencyKey, Position, RecordedResult};

use super::api_error::{ApiError, Loc, ValidationError};
use super::conditional;
use super::extract::{parse_json, read_body, redact_secrets};
use super::headers::IDEMPOTENCY_KEY;
use super::openapi::builders::string;
use super::openapi::parameters::{document_extractors, header_parameter};
use super::request_id::RequestId;
use super::state::HttpState;
use super::time_limit::TimeLimit;
use crate::app::Services;
use crate::command::{CommandContext, CommandError, TokenState, UserState, VersionCondition, WebhookState};

const MAX_KEY_LENGTH: usize = 255;
const KEY_PATTERN: &str = r"^[\x21-\x7e]{1,255}$";
/// Distinguishes a body whose secrets are left out from one that never had any.
const WITHOUT_SECRETS: &[u8] = b"without secrets";
/// Names the lookup of a recorded result in error causes.
const RECORDED_RESULT: &str = "the result recorded under the idempotency key";

/// A write request. Extract it after the caller's authority, so that an unauthorized request is rejected
/// before its body is read.
pub(crate) struct Idempotent<T> {
    pub(crate) attempt: WriteAttempt,
    pub(crate) body: T,
}

/// One attempt to execute a write: its time limit, its preconditions and, if the client sent a key, what
/// identifies the request.
pub(crate) struct WriteAttempt {
    pub(crate) state: HttpState,
    pub(crate) request_id: RequestId,
    pub(crate) limit: TimeLimit,
    condition: VersionCondition,
    keyed: Option<KeyedRequest>,
}

/// The key, and everything that the fingerprint of the request covers.
struct KeyedRequest {
    key: String,
    parts: Parts,
    body: Bytes,
}

impl<T: FromRequest<HttpState, Rejection = ApiError>> FromRequest<HttpState> for Idempotent<T> {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, state: &HttpState) -> Result<Self, ApiError> {
        let (limit, received) = (TimeLimit::of(request.extensions()), Instant::now());
        let request_id = RequestId::of(request.extensions());
        let condition = conditional::condition(request.headers());
        let mut keyed = None;
        if let Some(key) = parse_key(request.headers())? {
            let (parts, body) = request.into_parts();
            let body = read_body(Request::from_parts(parts.clone(), body)).await?;
            request = Request::from_parts(parts.clone(), Body::from(body.clone()));
            keyed = Some(KeyedRequest { key, parts, body });
        }
        let body = T::from_request(request, state).await?;
        let limit = limit.extend(received.elapsed());
        Ok(Self { attempt: WriteAttempt { state: state.clone(), request_id, limit, condition, keyed }, body })
    }
}

document_extractors! {
    WriteAttempt: [header_parameter(
        "Idempotency-Key",
        string("Makes the write idempotent: with the same key it is executed once").pattern(Some(KEY_PATTERN))
    )];
}

impl WriteAttempt {
    /// Executes a write of the actor, or replays the result recorded under its idempotency key. Waits until
    /// the author can read it back.
    pub(super) async fn execute<T: ReplayableWrite>(
        &self,
        actor: &str,
        write: impl AsyncFnOnce(CommandContext) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let (services, limit) = (self.state.app.services()?, self.limit);
        let context = CommandContext {
            condition: self.condition.clone(),
            ..CommandContext::new(actor, self.request_id.as_str())
        };
        let result = match self.idempotency_key(actor, &services.store) {
            None => limit.write(write(context)).await?,
            Some(key) => {
                let _guard = self.state.in_flight.begin(&key).ok_or(ApiError::RequestInProgress)?;
                if let Some(recorded) = limit.read(RECORDED_RESULT, recorded_result(services, &key)).await? {
                    recorded
                } else {
                    let context = CommandContext { idempotency: Some(key), ..context };
                    let executed = limit.write(write(context)).await;
                    prefer_recorded(services, &key, executed, limit).await?
                }
            }
        };
        if let Some(position) = result.position() {
            // The write is durable even if this wait times out.
            limit.within(T::wait_until_visible(services, position)).await;
        }
        Ok(result)
    }

    /// The key in the store's form, scoped to the caller and the endpoint.
    fn idempotency_key(&self, caller: &str, store: &EventStore) -> Option<IdempotencyKey> {
        let KeyedRequest { key, parts, body } = self.keyed.as_ref()?;
        let path = parts.uri.path().trim_end_matches('/');
        let scope = [caller, parts.method.as_str(), path, key].map(str::as_bytes);
        let condition = parts.headers.get(header::IF_MATCH).map_or(&[][..], |tag| tag.as_bytes());
        Some(match without_secrets(body) {
            None => store.idempotency_key(&scope, &[condition, body]),
            Some(redacted) => store.idempotency_key(&scope, &[condition, &redacted, WITHOUT_SECRETS]),
        })
    }
}

/// The body without the values of its secret fields; `None` if it has none. Passwords must not be guessable
/// from what is stored, however strong its key, nor by repeating a request: requests that differ in secrets
/// alone are the same.
fn without_secrets(body: &[u8]) -> Option<Vec<u8>> {
    let mut json = parse_json(body).ok()?;
    // Maps with text keys always serialise.
    redact_secrets(&mut json).then(|| serde_json::to_vec(&json).unwrap_or_default())
}

fn parse_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let text = String::from_utf8_lossy(key.as_bytes());
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if given.next().is_some() || !printable || !(1..=MAX_KEY_LENGTH).contains(&text.len()) {
        let loc = Loc::Header("idempotency-key");
        return Err(ApiError::invalid(ValidationError::pattern_mismatch(
            loc,
            KEY_PATTERN,
            text.as_ref().into(),
        )));
    }
    Ok(Some(text.into_owned()))
}

/// The result of a write, which can be reconstructed from what the store recorded under the idempotency key.
pub(super) trait ReplayableWrite: Sized + Send {
    /// The state that an earlier execution left, as of then.
    async fn replay(services: &Services, recorded: &RecordedResult) -> Result<Self, ApiError>;

    /// The position of the last appended event; `None` if the write appended nothing.
    fn position(&self) -> Option<Position>;

    /// Waits, for a limited time, until queries show the write (read-your-writes).
    async fn wait_until_visible(services: &Services, position: Position);
}

impl ReplayableWrite for UserState {
    async fn replay(services: &Services, recorded: &RecordedResult) -> Result<Self, ApiError> {
        let user = match services.users.state_after(recorded).await {
            Err(CommandError::Rejected(Rejection::Erased)) => return Err(ApiError::ResourceErased),
            user => user?,
        };
        if user.account.email.known().is_none() {
            return Err(ApiError::ResourceErased);
        }
        Ok(user)
    }

    fn position(&self) -> Option<Position> {
        self.position
    }

    async fn wait_until_visible(services: &Services, position: Position) {
        services.user_rows.wait_until_visible(position).await;
    }
}

impl ReplayableWrite for WebhookState {
    async fn replay(services: &Services, recorded: &RecordedResult) -> Result<Self, ApiError> {
        let state = services.webhooks.state_after(recorded).await?;
        let is_missing = |webhook: &domain::ActiveWebhook| webhook.url.known().is_none();
        let is_erased = state.unreadable.is_none() && state.webhook.as_ref().is_some_and(is_missing);
        if is_erased { Err(ApiError::ResourceErased) } else { Ok(state) }
    }

    fn position(&self) -> Option<Position> {
        self.position
    }

    async fn wait_until_visible(services: &Services, position: Position) {
        // The write is durable even if this wait times out.
        drop(services.webhook_rows.wait_for_position(position).await);
    }
}

impl ReplayableWrite for TokenState {
    async fn replay(services: &Services, recorded: &RecordedResult) -> Result<Self, ApiError> {
        Ok(services.tokens.state_after(recorded).await?)
    }

    fn position(&self) -> Option<Position> {
        self.position
    }

    /// Tokens are read from the log.
    async fn wait_until_visible(_: &Services, _: Position) {}
}

/// Looks for a recorded result once more if the write appended nothing or failed: a duplicate on another node
/// may have been executed first, and a write of unknown outcome may have been executed after all.
async fn prefer_recorded<T: ReplayableWrite>(
    services: &Services,
    key: &IdempotencyKey,
    executed: Result<T, ApiError>,
    limit: TimeLimit,
) -> Result<T, ApiError> {
    if executed.as_ref().is_ok_and(|result| result.position().is_some()) {
        return executed;
    }
    match limit.read(RECORDED_RESULT, recorded_result(services, key)).await {
        Ok(Some(recorded)) => Ok(recorded),
        Ok(None) => executed,
        Err(error) => executed.and(Err(error)),
    }
}

async fn recorded_result<T: ReplayableWrite>(
    services: &Services,
    key: &IdempotencyKey,
) -> Result<Option<T>, ApiError> {
    let Some(recorded) = services.store.recorded_result(key).await? else { return Ok(None) };
    if !recorded.is_for(key) {
        return Err(ApiError::IdempotencyKeyReused);
    }
    T::replay(services, &recorded).await.map(Some)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn parse(keys: &[&str]) -> Result<Option<String>, ApiError> {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(key.as_bytes()).unwrap());
        }
        parse_key(&headers)
    }

    #[test]
    fn fingerprint_leaves_secrets_out_at_any_depth() {
        let redacted =
            |body: &str| without_secrets(body.as_bytes()).map(|json| String::from_utf8(json).unwrap());
        assert_eq!(redacted(r#"{"a":1,"password":"s3cret"}"#).as_deref(), Some(r#"{"a":1}"#));
        for body in [
            r#"{"password":"s3cret"}"#,
            r#"{"current_password":"s3cret","new_password":["s3cret"]}"#,
            r#"{"a":[{"client_secret":"s3cret","secret":"s3cret"}],"password":{"x":"s3cret"}}"#,
            "\u{FEFF}{\"password\":\"a\",\"password\":\"s3cret\"}",
        ] {
            assert!(!redacted(body).unwrap().contains("s3cret"), "{body}");
        }
        for body in ["", "no JSON", "{}", r#"{"reason":"password"}"#, "[1]"] {
            assert_eq!(redacted(body), None, "{body}");
        }
    }

    #[test]
    fn accepts_one_key_of_visible_characters() {
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&["8e03978e-40d5-43e8-bc93-6894a57f9324"]).unwrap().unwrap().len(), 36);
        assert_eq!(parse(&["\"quoted\""]).unwrap().unwrap(), "\"quoted\"", "quotes are part of the key");
        assert_eq!(parse(&[&"x".repeat(255)]).unwrap().unwrap().len(), 255);
        for bad in ["", "a b", "ä", &"x".repeat(256)] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
        assert!(parse(&["a", "b"]).is_err(), "two keys");
    }
}
