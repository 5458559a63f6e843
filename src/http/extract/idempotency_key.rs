//! `Idempotency-Key`: a write that its caller may have sent before.

use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use store::{EventStore, IdempotencyKey};

use super::read_body;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::headers::IDEMPOTENCY_KEY;
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;

const MAX_LENGTH: usize = 255;
const PATTERN: &str = r"^[\x21-\x7e]{1,255}$";

/// What a write brings, and under which key. To be taken after whatever says who the caller is: a key belongs to them.
pub(crate) struct Idempotent<T> {
    /// Under which key, if any.
    pub(crate) attempt: WriteAttempt,
    /// What it brings.
    pub(crate) body: T,
}

/// A request that is to be done once: when it has to be answered, and the key that came with it, if one did.
pub(crate) struct WriteAttempt {
    pub(crate) limit: TimeLimit,
    keyed: Option<KeyedRequest>,
}

/// The key, and all that makes the request what it is.
struct KeyedRequest {
    key: String,
    parts: Parts,
    body: Bytes,
}

impl<T> FromRequest<HttpState> for Idempotent<T>
where
    T: FromRequest<HttpState, Rejection = ApiError>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, ApiError> {
        let (limit, received) = (TimeLimit::of(request.extensions()), Instant::now());
        let Some(key) = key(request.headers())? else {
            let body = T::from_request(request, state).await?;
            let attempt = WriteAttempt { limit: limit.extend(received.elapsed()), keyed: None };
            return Ok(Self { attempt, body });
        };
        let (parts, body) = request.into_parts();
        let bytes = read_body(Request::from_parts(parts.clone(), body)).await?;
        let again = Request::from_parts(parts.clone(), Body::from(bytes.clone()));
        let body = T::from_request(again, state).await?;
        let keyed = Some(KeyedRequest { key, parts, body: bytes });
        Ok(Self { attempt: WriteAttempt { limit: limit.extend(received.elapsed()), keyed }, body })
    }
}

impl WriteAttempt {
    /// The key as the store keeps it: of this caller, for this endpoint.
    pub(crate) fn idempotency_key(&self, caller: &str, store: &EventStore) -> Option<IdempotencyKey> {
        let KeyedRequest { key, parts, body } = self.keyed.as_ref()?;
        let path = parts.uri.path().trim_end_matches('/');
        let scope = [caller, parts.method.as_str(), path, key].map(str::as_bytes);
        let condition = parts.headers.get(header::IF_MATCH).map_or(&[][..], |tag| tag.as_bytes());
        Some(store.idempotency_key(&scope, &[condition, body]))
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let text = String::from_utf8_lossy(key.as_bytes());
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if given.next().is_some() || !printable || !(1..=MAX_LENGTH).contains(&text.len()) {
        let loc = Loc::Header("idempotency-key");
        return Err(ApiError::invalid(ValidationError::pattern_mismatch(loc, PATTERN, text.as_ref().into())));
    }
    Ok(Some(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(keys: &[&str]) -> Result<Option<String>, ApiError> {
        let value = |key: &&str| (IDEMPOTENCY_KEY, HeaderValue::from_bytes(key.as_bytes()).unwrap());
        let mut headers = HeaderMap::new();
        headers.extend(keys.iter().map(value).map(|(name, value)| (Some(name), value)));
        for (name, value) in keys.iter().skip(1).map(value) {
            headers.append(name, value);
        }
        key(&headers)
    }

    #[test]
    fn accepts_one_key_of_visible_characters() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&["8e03978e-40d5-43e8-bc93-6894a57f9324"]).unwrap().unwrap().len(), 36);
        assert_eq!(of(&["\"quoted\""]).unwrap().unwrap(), "\"quoted\"", "a key is taken as it is");
        assert_eq!(of(&[&"x".repeat(255)]).unwrap().unwrap().len(), 255);
        for bad in ["", "a b", "ä", &"x".repeat(256)] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
        assert!(of(&["a", "b"]).is_err(), "two keys");
    }
}
