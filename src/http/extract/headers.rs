//! Request headers: `If-Match` (RFC 9110 §13.1.1), optimistic concurrency for clients, and
//! `Aegis-Min-Position`, read-your-writes across nodes.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use store::Position;

use crate::app::Services;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::headers::MIN_POSITION;
use crate::http::state::HttpState;

/// The expected version; `None` if any.
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.headers.get(header::IF_MATCH) {
            None => Ok(Self(None)),
            Some(tag) => parse_tag(tag.as_bytes()).map(Self),
        }
    }
}

/// Accepts one strong tag as sent in `ETag`, or `*`. Other tags, such as lists and weak tags, match no
/// version.
fn parse_tag(tag: &[u8]) -> Result<Option<u64>, ApiError> {
    let tag = str::from_utf8(tag).unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    let version = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
    let version = is_number.then(|| version.parse().ok()).flatten();
    version.map(Some).ok_or(ApiError::VersionMismatch)
}

/// Proof that the read model `users` has reached the requested position, if one was requested.
pub(crate) struct MinPosition;

impl MinPosition {
    /// The requested position.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Option<Position>, ApiError> {
        let Some(wanted) = headers.get(MIN_POSITION) else { return Ok(None) };
        let wanted = String::from_utf8_lossy(wanted.as_bytes());
        parse_position(wanted.trim()).map(Some)
    }

    /// Waits, for a limited time, until the read model `users` has reached the requested position.
    pub(crate) async fn wait(headers: &HeaderMap, services: &Services) -> Result<Self, ApiError> {
        if let Some(position) = Self::from_headers(headers)? {
            services.user_rows.wait_for_position(position).await?;
        }
        Ok(Self)
    }
}

impl FromRequestParts<HttpState> for MinPosition {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        Self::wait(&parts.headers, state.app.services()?).await
    }
}

fn parse_position(text: &str) -> Result<Position, ApiError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(ApiError::invalid(ValidationError::unparsable_integer(
            Loc::Header("aegis-min-position"),
            text,
        )));
    }
    // A number beyond `u64` is beyond the head in any case.
    Ok(Position::new(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_one_strong_tag_or_a_star() {
        assert_eq!(parse_tag(b"\"7\"").unwrap(), Some(7));
        assert_eq!(parse_tag(b" * ").unwrap(), None);
        for other in ["", "7", "W/\"7\"", "\"7\", \"8\"", "\"x\"", "\"+7\"", "\"\""] {
            assert!(matches!(parse_tag(other.as_bytes()), Err(ApiError::VersionMismatch)), "{other}");
        }
    }

    #[test]
    fn only_a_number_is_a_position() {
        assert_eq!(parse_position("42").unwrap(), Position::new(42));
        assert_eq!(parse_position("99999999999999999999999").unwrap(), Position::new(u64::MAX));
        for bad in ["", "-1", "+1", "1.0", "x"] {
            assert!(parse_position(bad).is_err(), "{bad}");
        }
    }
}
