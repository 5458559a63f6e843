//! `GET /metrics`: what this process counts, for Prometheus. Nothing is asked of the database, so it is answered while
//! that is out of reach, too.

mod exposition;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use store::EventStore;

use self::exposition::Exposition;
use super::extract::MetricsReader;
use crate::app::App;

/// The text format of Prometheus (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const MICROS_PER_SECOND: f64 = 1_000_000.0;

/// Shows what this process counts.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    operation_id = "metrics",
    responses(
        (status = 200, description = "Metrics in the text format of Prometheus", body = String, content_type = "text/plain"),
        (status = 401, description = "No token, and not from this machine itself", body = crate::http::openapi::ErrorBody),
        (status = 403, description = "Neither operator nor administrator", body = crate::http::openapi::ErrorBody),
    ),
    security((), ("OAuth2PasswordBearer" = [])),
)]
pub(crate) async fn metrics(_: MetricsReader, State(app): State<Arc<App>>) -> Response {
    let mut out = Exposition::default();
    out.gauge("aegis_build_info", "The version that runs.", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let node = app.node();
    let reached = "Whether the database has been reached since the start.";
    out.gauge("aegis_database_reached", reached, &[], u64::from(node.is_ok()));
    if let Ok(node) = node {
        of_store(&mut out, &node.store);
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], out.into_text()).into_response()
}

fn of_store(out: &mut Exposition, store: &EventStore) {
    let metrics = store.metrics();
    let head = "The head of the log, as far as this process has heard.";
    out.gauge("aegis_log_head_position", head, &[], store.signal().head.get());
    let waiting = "Appends that wait to be taken into a batch.";
    out.gauge("aegis_append_queue_depth", waiting, &[], metrics.waiting);
    let appends = "Appends, by what their callers were told.";
    out.counters("aegis_appends_total", appends, "outcome", &metrics.outcomes.by_name());
    let events = "Events of each batch of appends.";
    out.histogram("aegis_append_batch_events", events, &metrics.batch_events, 1.0);
    let seconds = "Time from the first statement of a batch to the answer of its commit.";
    out.histogram("aegis_append_commit_seconds", seconds, &metrics.commit_micros, MICROS_PER_SECOND);
    let retries = "Transactions that were tried again, by what the database had said.";
    out.counters("aegis_transaction_retries_total", retries, "label", &metrics.retries.by_label());
}
