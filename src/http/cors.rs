//! CORS: which origins may call the API from browsers.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::headers::{
    IDEMPOTENCY_KEY, MIN_POSITION, POSITION, PREFER, PREFERENCE_APPLIED, RATE_LIMIT, RATE_LIMIT_POLICY,
    REQUEST_ID,
};

/// How long browsers cache the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_mins(10);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The layer for these origins; `None` if there are none. `*` allows all.
pub(crate) fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::CACHE_CONTROL,
            IDEMPOTENCY_KEY,
            LAST_EVENT_ID,
            MIN_POSITION,
            PREFER,
            REQUEST_ID,
            // Browser instrumentation (W3C Trace Context and Baggage, Sentry) adds these to every request.
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
            HeaderName::from_static("baggage"),
            HeaderName::from_static("sentry-trace"),
        ])
        .expose_headers([
            header::LOCATION,
            header::ETAG,
            header::RETRY_AFTER,
            RATE_LIMIT,
            RATE_LIMIT_POLICY,
            POSITION,
            PREFERENCE_APPLIED,
            REQUEST_ID,
        ])
        .max_age(MAX_AGE);
    if origins.iter().any(|origin| origin == "*") {
        return Some(layer.allow_origin(AllowOrigin::any()));
    }
    let known = origins.iter().filter_map(|origin| HeaderValue::from_str(origin.trim_end_matches('/')).ok());
    // As in the FastAPI service. Tokens are sent in a header, so no cookie is exposed.
    Some(layer.allow_origin(AllowOrigin::list(known)).allow_credentials(true))
}
