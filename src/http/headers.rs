//! The headers of our own answers.

use std::convert::Infallible;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponseParts, ResponseParts};
use store::Position;

/// The request's id, in the answer and in the logs.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The position of what a write appended.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("aegis-position");
/// The position that a read has to show at least.
pub(crate) const MIN_POSITION: HeaderName = HeaderName::from_static("aegis-min-position");

/// The caller's key for a write that they may have to send again.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The position of what was written, if anything was.
pub(crate) struct PositionHeader(pub(crate) Option<Position>);

impl IntoResponseParts for PositionHeader {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        if let Some(position) = self.0 {
            response.headers_mut().insert(POSITION, HeaderValue::from(position.get()));
        }
        Ok(response)
    }
}

/// The version of a stream as an entity tag, for a later `If-Match`.
pub(crate) struct EntityTag(pub(crate) u64);

impl IntoResponseParts for EntityTag {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", self.0)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        Ok(response)
    }
}
