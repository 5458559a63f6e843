//! The request header `Aegis-Min-Position`: read-your-writes across nodes.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use store::Position;

use crate::app::Services;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::headers::MIN_POSITION;
use crate::http::state::HttpState;

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
    fn only_a_number_is_a_position() {
        assert_eq!(parse_position("42").unwrap(), Position::new(42));
        assert_eq!(parse_position("99999999999999999999999").unwrap(), Position::new(u64::MAX));
        for bad in ["", "-1", "+1", "1.0", "x"] {
            assert!(parse_position(bad).is_err(), "{bad}");
        }
    }
}
