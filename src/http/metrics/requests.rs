//! Metrics of HTTP requests, by route, method and status.

use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// 1 ms, 2 ms, 4 ms … 16 s: the request timeout is 9 s, long polls take up to 60 s.
const DURATION_BUCKETS: u16 = 15;

/// Clones share their counts.
#[derive(Clone)]
pub(crate) struct RequestMetrics {
    requests: Family<RequestLabels, Counter>,
    duration: Family<RequestLabels, Histogram, fn() -> Histogram>,
}

/// The label values are bounded: route templates, known methods, and the statuses that the service answers
/// with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        let histogram = || Histogram::new(exponential_buckets(0.001, 2.0, DURATION_BUCKETS));
        Self { requests: Family::default(), duration: Family::new_with_constructor(histogram) }
    }
}

impl RequestMetrics {
    pub(crate) fn record(&self, route: &str, method: &Method, status: StatusCode, duration: Duration) {
        let (route, method, status) = (route.to_owned(), method_name(method), status.as_u16());
        let labels = RequestLabels { route, method, status };
        self.requests.get_or_create(&labels).inc();
        self.duration.get_or_create(&labels).observe(duration.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let requests = "Requests answered, by route, method and status";
        registry.register("aegis_http_requests", requests, self.requests.clone());
        let duration = "Time from the request's head to the head of its answer";
        registry.register("aegis_http_request_duration_seconds", duration, self.duration.clone());
    }
}

/// The template of the matched route, without a trailing slash; never the path itself, which may name a
/// person.
pub(crate) fn route(path: Option<&MatchedPath>) -> &str {
    match path.map(MatchedPath::as_str) {
        None => "unmatched",
        Some("/") => "/",
        Some(template) => template.trim_end_matches('/'),
    }
}

/// Clients can send any method, so unknown ones share a label value.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
