//! `If-Match` (RFC 9110 §13.1.1): optimistic concurrency for clients.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::http::api_error::ApiError;

/// The expected version; `None` if any.
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.headers.get(header::IF_MATCH) {
            None => Ok(Self(None)),
            Some(tag) => parse(tag.as_bytes()).map(Self),
        }
    }
}

/// Accepts one strong tag as sent in `ETag`, or `*`. Other tags, such as lists and weak tags, match no
/// version.
fn parse(tag: &[u8]) -> Result<Option<u64>, ApiError> {
    let tag = str::from_utf8(tag).unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    let version = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
    let version = is_number.then(|| version.parse().ok()).flatten();
    version.map(Some).ok_or(ApiError::VersionMismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_one_strong_tag_or_a_star() {
        assert_eq!(parse(b"\"7\"").unwrap(), Some(7));
        assert_eq!(parse(b" * ").unwrap(), None);
        for other in ["", "7", "W/\"7\"", "\"7\", \"8\"", "\"x\"", "\"+7\"", "\"\""] {
            assert!(matches!(parse(other.as_bytes()), Err(ApiError::VersionMismatch)), "{other}");
        }
    }
}
