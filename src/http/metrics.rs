//! `GET /metrics`: what this process counts, for Prometheus. Nothing is asked of the database, so it is answered while
//! that is out of reach, too.

mod projections;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::api_error::ApiError;
use super::extract::MetricsReader;
use crate::app::App;

/// `OpenMetrics` 1.0, which Prometheus and those who read like it understand.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Shows what this process counts.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    operation_id = "metrics",
    responses(
        (status = 200, description = "Metrics in the OpenMetrics text format", body = String,
            content_type = "application/openmetrics-text"),
        (status = 401, description = "No token, and not from this machine itself", body = crate::http::openapi::ErrorBody),
        (status = 403, description = "Neither operator nor administrator", body = crate::http::openapi::ErrorBody),
    ),
    security((), ("OAuth2PasswordBearer" = [])),
)]
pub(crate) async fn metrics(_: MetricsReader, State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let mut text = String::new();
    encode(&mut text, &registry(&app)).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// Made anew for each reader: what is counted is the same, and what is read off comes fresh.
fn registry(app: &App) -> Registry {
    let mut registry = Registry::default();
    registry.register(
        "aegis_build",
        "The version that runs",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    let services = app.services();
    let reached = "Whether the database has been reached since the start";
    gauge("aegis_database_reached", reached, u64::from(services.is_ok()));
    if let Ok(services) = services {
        let head = "The head of the log, as far as this process has heard";
        gauge("aegis_log_head_position", head, services.store.progress().head.get());
        services.store.metrics().register(&mut registry);
        services.delivery_context.metrics().register(&mut registry);
        projections::register(&mut registry, services, app.env.now());
    }
    registry
}
