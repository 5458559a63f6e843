//! Headers specific to the service.

use std::convert::Infallible;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponseParts, ResponseParts};
use store::Position;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// In answers to writes: the position of the last appended event.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("aegis-position");
/// In requests: the position that the answer has to reflect at least (read-your-writes).
pub(crate) const MIN_POSITION: HeaderName = HeaderName::from_static("aegis-min-position");

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `Aegis-Position`; left out if the write appended nothing.
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

/// `ETag`: the version of a stream, for a later `If-Match`.
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
