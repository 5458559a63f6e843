//! Headers specific to the service.

use axum::http::{HeaderName, HeaderValue};
use store::Position;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// In answers to writes: the position of the last appended event.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("aegis-position");
/// In requests: the position that the answer has to reflect at least (read-your-writes).
pub(crate) const MIN_POSITION: HeaderName = HeaderName::from_static("aegis-min-position");

/// `draft-ietf-httpapi-ratelimit-headers`: the limit that a refused request exceeds, and its quota.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// RFC 7240: what the client prefers, and which of it the answer follows.
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `Aegis-Position`; left out if the write appended nothing.
pub(crate) fn position_header(position: Option<Position>) -> Option<[(HeaderName, HeaderValue); 1]> {
    position.map(|position| [(POSITION, position.get().into())])
}
