//! `GET /metrics`: the metrics of this process, for Prometheus. It does not query the database, so it works
//! while that is unreachable.

mod projections;
pub(super) mod requests;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::api_error::ApiError;
use super::extract::{MetricsReader, Operator};
use super::state::HttpState;

/// `OpenMetrics` 1.0.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the metrics of this process, without a token to clients on the same machine.
#[utoipa::path(
    get, path = "/metrics",
    responses(
        (status = 200, description = "Metrics in the OpenMetrics text format", body = String,
            content_type = "application/openmetrics-text"),
        Operator,
    ),
    security((), ("OAuth2PasswordBearer" = [])),
)]
pub(crate) async fn metrics(_: MetricsReader, State(state): State<HttpState>) -> Result<Response, ApiError> {
    let mut text = String::new();
    encode(&mut text, &registry(&state)).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// Built for each scrape: counters are shared, gauges are read now.
fn registry(state: &HttpState) -> Registry {
    let app = &state.app;
    let mut registry = Registry::default();
    registry.register(
        "aegis_build",
        "The version of this process",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    state.request_metrics.register(&mut registry);
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    let services = app.services();
    let reached = "Whether the database has been reached since the start";
    gauge("aegis_database_reached", reached, u64::from(services.is_ok()));
    if let Ok(services) = services {
        let head = "The head of the log that this process knows of";
        gauge("aegis_log_head_position", head, services.store.progress().head.get());
        services.store.metrics().register(&mut registry);
        services.delivery_context.metrics().register(&mut registry);
        projections::register(&mut registry, services, app.env.now());
    }
    registry
}
