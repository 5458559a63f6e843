//! `GET /metrics`: the metrics of this process, for Prometheus. They come from its counters, the progress it
//! knows of and the last report of each lease holder, not from the database, which may be unreachable.

pub(super) mod connections;
pub(super) mod requests;
mod text_format;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use projections::{Projection, ProjectionLeadership, VersionHealth, VersionReport};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use store::{Position, StoreProgress};
use tokio::time::Instant;

use super::api_error::ApiError;
use super::extract::{MetricsReader, Operator};
use super::state::HttpState;
use crate::app::Services;

/// Serves the metrics of this process, without a token to clients on the same machine.
#[utoipa::path(
    get, path = "/metrics",
    responses(
        (status = 200, description = "Metrics in the text format of Prometheus, or in that of OpenMetrics if \
            `Accept` names `application/openmetrics-text`", body = String, content_type = "text/plain"),
        Operator,
    ),
    security((), ("OAuth2PasswordBearer" = [])),
)]
pub(crate) async fn metrics(
    _: MetricsReader,
    State(state): State<HttpState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    render(&state, &headers)
}

/// Serves the metrics on their own listener.
pub(super) async fn metrics_without_authorization(
    State(state): State<HttpState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    render(&state, &headers)
}

fn render(state: &HttpState, headers: &HeaderMap) -> Result<Response, ApiError> {
    let mut text = String::new();
    encode(&mut text, &registry(state)).map_err(|error| ApiError::internal(&error))?;
    let (content_type, text) = if text_format::accepts_open_metrics(headers) {
        (text_format::OPEN_METRICS, text)
    } else {
        (text_format::CLASSIC, text_format::to_classic(&text))
    };
    Ok(([(header::CONTENT_TYPE, content_type), (header::VARY, "Accept")], text).into_response())
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
    state.connection_metrics.register(&mut registry);
    let hashes = Family::<Labels, Counter>::default();
    for (kind, count) in app.hashing.computed() {
        hashes.get_or_create(&vec![("costs", kind.to_string())]).inc_by(count);
    }
    registry.register("aegis_password_hashes", "Password hashes computed, by their costs", hashes);
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
        let seconds = |time: SignedDuration| time.as_secs_f64();
        let clock = services.store.clock();
        let mut gauge = |name: &str, help: &str, value: Option<SignedDuration>| {
            let gauge = Gauge::<f64, AtomicU64>::default();
            gauge.set(value.map_or(0.0, seconds));
            registry.register(name, help, gauge);
        };
        let offset = "By how much the clock of this node is ahead of that of the database";
        gauge("aegis_clock_offset_seconds", offset, clock.offset());
        let future = "How far the time of the last event lies in the future; negative for the past";
        let ahead = services.store.progress().head_time.map(|at| at.duration_since(clock.now()));
        gauge("aegis_log_head_time_ahead_seconds", future, ahead);
        services.store.metrics().register(&mut registry);
        services.delivery_context.metrics().register(&mut registry);
        app.mail.metrics().register(&mut registry, app.env.now());
        register_projections(&mut registry, services);
    }
    registry
}

type Labels = Vec<(&'static str, String)>;
type Numbers = Family<Labels, Gauge>;
type Seconds = Family<Labels, Gauge<f64, AtomicU64>>;

/// One series each per projection, or per version.
#[derive(Default)]
struct Gauges {
    position: Numbers,
    lag: Numbers,
    lag_seconds: Seconds,
    rate: Numbers,
    state: Numbers,
    live: Numbers,
    owner: Numbers,
    heartbeat: Seconds,
}

fn register_projections(registry: &mut Registry, services: &Services) {
    let (gauges, progress) = (Gauges::default(), services.store.progress());
    if let Some(projector) = services.projector() {
        let (leadership, is_owner) = (projector.status(), projector.is_owner());
        for projection in projector.projections() {
            gauges.of_projection(*projection, &leadership, is_owner, &progress);
        }
    }
    let Gauges { position, lag, lag_seconds, rate, state, live, owner, heartbeat } = gauges;
    let mut numbers = |name: &str, help: &str, family: Numbers| registry.register(name, help, family);
    numbers("aegis_projection_position", "The position up to which events are applied", position);
    numbers("aegis_projection_lag_events", "Projection lag: events that are not applied yet", lag);
    numbers("aegis_projection_rate", "Events applied per second, recently", rate);
    numbers("aegis_projection_state", "1 for the current state of a version", state);
    numbers("aegis_projection_live", "Whether a version is live", live);
    numbers("aegis_projection_owner", "Whether this node holds the lease of the projection", owner);
    let mut seconds = |name: &str, help: &str, family: Seconds| registry.register(name, help, family);
    let age = "Projection lag: age of the oldest event that is not applied yet";
    seconds("aegis_projection_lag_seconds", age, lag_seconds);
    let silence = "Time since the last report of the lease holder";
    seconds("aegis_projection_heartbeat_age_seconds", silence, heartbeat);
}

impl Gauges {
    fn of_projection(
        &self,
        projection: &'static dyn Projection,
        leadership: &ProjectionLeadership,
        is_owner: bool,
        progress: &StoreProgress,
    ) {
        let name = projection.name();
        let labels = vec![("projection", name.to_owned())];
        self.owner.get_or_create(&labels).set(i64::from(is_owner));
        if let Some(reported) = leadership.reported {
            let age = Instant::now().saturating_duration_since(reported);
            self.heartbeat.get_or_create(&labels).set(age.as_secs_f64());
        }
        let Some(versions) = progress.versions.get(name) else { return };
        for version in &versions.kept {
            let number = ("version", version.number.to_string());
            let labels: Labels = labels.iter().cloned().chain([number]).collect();
            self.live.get_or_create(&labels).set(i64::from(version.number == versions.live));
            let table = projection.table(version.number).name;
            let known = progress.applied_position(&table);
            let age = progress.lag(&table).unwrap_or_default().age;
            let report = leadership.report.get(name).and_then(|report| report.versions.get(&version.number));
            if let Some(report) = report {
                self.of_version(&labels, report, known, progress.head, age);
            }
        }
    }

    fn of_version(
        &self,
        labels: &Labels,
        report: &VersionReport,
        known: Position,
        head: Position,
        age: Duration,
    ) {
        // The known progress is newer than the report, unless this node has not received any yet.
        let position = known.get().max(report.position);
        let lag = head.get().saturating_sub(position);
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.position.get_or_create(labels).set(number(position));
        self.lag.get_or_create(labels).set(number(lag));
        self.rate.get_or_create(labels).set(number(report.rate));
        self.lag_seconds.get_or_create(labels).set(age.as_secs_f64());
        for state in VersionHealth::NAMES {
            let labels: Labels = labels.iter().cloned().chain([("state", state.to_owned())]).collect();
            self.state.get_or_create(&labels).set(i64::from(report.health.name() == state));
        }
    }
}
