//! `GET /health` and `GET /health/ready`

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use projections::report::LEASE;
use projections::{Projection, ProjectionContext, ProjectionHandle, Users, VersionHealth};
use serde::Serialize;
use store::{Head, LogClock, Position, ProjectionLag, StoreError};
use utoipa::ToSchema;

use super::extract::DocumentedQuery;
use crate::app::{App, NotStarted, Services};

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The tolerated projection lag: the age of the oldest event that the rows lack. Requests wait for 2 s.
const MAX_LAG: Duration = Duration::from_secs(5);
/// The tolerated time without a lease holder that applies events. A change of the holder takes up to 3 s.
const MAX_WITHOUT_PROJECTOR: Duration = Duration::from_secs(5);
/// The tolerated time without a heartbeat of the commit feed, which beats every second.
const MAX_HEARTBEAT_AGE: Duration = Duration::from_secs(5);

/// The answer of a running process.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthView {
    /// Always `ok`.
    status: &'static str,
    /// The same in words.
    message: &'static str,
}

/// Liveness: answers while the process runs, without probing anything.
#[utoipa::path(
    get, path = "/health",
    responses((status = 200, description = "The process is running", body = HealthView)),
)]
pub(crate) async fn health() -> Json<HealthView> {
    Json(HealthView { status: "ok", message: "API is healthy" })
}

/// The readiness of the service, by component.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadyView {
    /// `ok`, or `unavailable` if a component is not `ok`.
    status: &'static str,
    /// The database: `ok`, `starting` while it is being opened, `unreachable` or `damaged`.
    database: &'static str,
    /// The read model `users`: `ok`, `behind` (by more than 5 s), `stopped` (no node applies events), `failing`,
    /// `halted`, `gone` or `unknown`.
    users: &'static str,
    /// Notification of commits by other processes: `ok`, `silent` or `unknown`.
    feed: &'static str,
    /// The clock that stamps events: `ok`; `jumped` ahead by more than 5 min, so that writes are refused;
    /// `head_in_future`: the last event is stamped more than 10 min in the future; or `unknown`.
    clock: &'static str,
    /// What becomes of mails: `smtp`, `outbox` (files in the data directory), or `off` (they are only counted). Does not
    /// affect `status`.
    mail: &'static str,
    /// The head of the log; left out while it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    head: Option<u64>,
    /// The lag of `users`, in events; left out while it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lag: Option<u64>,
}

/// The answer of a service that is not ready, or that has too many requests in progress.
pub(crate) enum NotReady {}

/// Readiness: whether requests that need the database would succeed now. Each request probes the database.
#[utoipa::path(
    get, path = "/health/ready",
    responses(
        (status = 200, description = "The service is ready", body = ReadyView),
        (status = 503, description = "The service is not ready; see the component that is not `ok`",
            body = NotReady),
        DocumentedQuery,
    ),
)]
pub(crate) async fn ready(State(app): State<Arc<App>>, _: DocumentedQuery) -> Response {
    let mail = app.mail.transport();
    let view = match app.services() {
        Ok(services) => match tokio::time::timeout(PROBE_TIMEOUT, probe(services)).await {
            Ok(Ok(probed)) => readiness(&node_state(services, probed), mail),
            Ok(Err(StoreError::Corrupt(_))) => unavailable("damaged", mail),
            Ok(Err(_)) | Err(_) => unavailable("unreachable", mail),
        },
        Err(NotStarted::Opening) => unavailable("starting", mail),
        Err(NotStarted::Unavailable(_)) => unavailable("unreachable", mail),
    };
    match view.status {
        "ok" => Json(view).into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(view)).into_response(),
    }
}

#[derive(Default)]
struct NodeState {
    /// The health that the lease holder reported for the live version, if any did.
    health: Option<VersionHealth>,
    head: Position,
    rows: Position,
    /// The projection lag, if events are waiting.
    lag: Option<ProjectionLag>,
    /// For how long no node has held the lease of the projector.
    without_projector: Duration,
    /// Whether the live table was dropped.
    rows_dropped: bool,
    /// Whether a table of the log was dropped.
    log_dropped: bool,
    silence: Option<Duration>,
    clock: ClockState,
}

/// The clock that stamps events.
#[derive(Default)]
enum ClockState {
    #[default]
    Right,
    /// Writes are refused.
    Jumped,
    HeadInFuture,
}

impl ClockState {
    fn of(clock: &LogClock, head: Timestamp) -> Self {
        match clock.check() {
            Err(_) => Self::Jumped,
            Ok(()) if clock.future(head).is_some() => Self::HeadInFuture,
            Ok(()) => Self::Right,
        }
    }
}

fn node_state(services: &Services, Probed { head, rows, is_projector_running }: Probed) -> NodeState {
    let Head { position: head, at, .. } = head;
    let (progress, name) = (services.store.progress(), Users.name());
    let live = progress.live_version(name);
    let leadership = services.projector().map(ProjectionHandle::status).unwrap_or_default();
    let (mut reports, reported) = (leadership.report, leadership.reported);
    let of_read_model = |table: &str| {
        let named = |name: &str| table.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
        projections::all().iter().any(|projection| named(projection.name()))
    };
    NodeState {
        health: reports.remove(name).and_then(|mut report| Some(report.versions.remove(&live)?.health)),
        head,
        rows,
        lag: (rows < head).then(|| progress.lag(&format!("{name}_{live}")).unwrap_or_default()),
        // A node that takes part in the election knows when it last learnt of a holder, whatever the probes saw.
        without_projector: services
            .projector_watch()
            .observe(is_projector_running)
            .min(reported.map_or(Duration::MAX, |reported| reported.elapsed())),
        rows_dropped: progress.dropped.contains(format!("{name}_{live}").as_str()),
        log_dropped: progress.dropped.iter().any(|name| !of_read_model(name)),
        silence: services.store.since_heartbeat(),
        clock: ClockState::of(services.store.clock(), at),
    }
}

/// What the database says.
struct Probed {
    head: Head,
    rows: Position,
    is_projector_running: bool,
}

async fn probe(services: &Services) -> Result<Probed, StoreError> {
    let ProjectionContext { rows, leases, .. } = &services.projection_context;
    let live = rows.versions(Users.name()).await?.map_or(1, |versions| versions.live);
    let users: &dyn Projection = &Users;
    let rows = rows.checkpoint(&users.table(live)).await?.position;
    let leases = leases.list_leases().await?;
    let is_projector_running = leases.iter().any(|lease| lease.name == LEASE && lease.is_held());
    let head = services.store.head().await?;
    Ok(Probed { head, rows, is_projector_running })
}

fn readiness(node: &NodeState, mail: &'static str) -> ReadyView {
    let lag = node.head.get().saturating_sub(node.rows.get());
    let users = match node.health {
        _ if node.rows_dropped => "gone",
        Some(VersionHealth::Halted(_)) => "halted",
        Some(VersionHealth::Unknown(_)) => "unknown",
        Some(VersionHealth::Failing(_)) => "failing",
        _ if node.without_projector > MAX_WITHOUT_PROJECTOR => "stopped",
        // Rows of which it is not known what they lack may be those of a table that is being filled again.
        _ if node.lag.is_some_and(|lag| lag.age > MAX_LAG || lag.is_lower_bound) => "behind",
        Some(VersionHealth::Running) | None => "ok",
    };
    let database = if node.log_dropped { "damaged" } else { "ok" };
    let feed = if node.silence.is_some_and(|silence| silence > MAX_HEARTBEAT_AGE) { "silent" } else { "ok" };
    let clock = match node.clock {
        ClockState::Right => "ok",
        ClockState::Jumped => "jumped",
        ClockState::HeadInFuture => "head_in_future",
    };
    let well = [database, users, feed, clock].iter().all(|part| *part == "ok");
    let status = if well { "ok" } else { "unavailable" };
    ReadyView { status, database, users, feed, clock, mail, head: Some(node.head.get()), lag: Some(lag) }
}

fn unavailable(database: &'static str, mail: &'static str) -> ReadyView {
    let (status, unknown) = ("unavailable", "unknown");
    ReadyView { status, database, users: unknown, feed: unknown, clock: unknown, mail, head: None, lag: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(health: Option<VersionHealth>, age: u64) -> (&'static str, &'static str) {
        let lag = Some(ProjectionLag { age: Duration::from_secs(age), is_lower_bound: false });
        let (head, rows) = (Position::new(7), Position::new(5));
        let view = readiness(&NodeState { health, head, rows, lag, ..NodeState::default() }, "off");
        (view.status, view.users)
    }

    #[test]
    fn ready_when_every_component_is() {
        assert_eq!(users(Some(VersionHealth::Running), 0), ("ok", "ok"));
        assert_eq!(users(None, 4), ("ok", "ok"));
        assert_eq!(users(None, 6), ("unavailable", "behind"));
        assert_eq!(users(Some(VersionHealth::Running), 6), ("unavailable", "behind"));
        assert_eq!(users(Some(VersionHealth::Failing("x".to_owned())), 0), ("unavailable", "failing"));
        assert_eq!(users(Some(VersionHealth::Halted("x".to_owned())), 0), ("unavailable", "halted"));
        let stopped = NodeState { without_projector: Duration::from_secs(6), ..NodeState::default() };
        assert_eq!(readiness(&stopped, "off").users, "stopped");
        let lag = Some(ProjectionLag { age: Duration::ZERO, is_lower_bound: true });
        assert_eq!(readiness(&NodeState { lag, ..NodeState::default() }, "off").users, "behind");
        assert_eq!(unavailable("unreachable", "off").database, "unreachable");
        assert_eq!(unavailable("damaged", "off").database, "damaged");
    }

    #[test]
    fn not_ready_with_a_wrong_clock() {
        let clock = |node| (readiness(&node, "off").status, readiness(&node, "off").clock);
        assert_eq!(clock(NodeState::default()), ("ok", "ok"));
        for (state, shown) in [(ClockState::Jumped, "jumped"), (ClockState::HeadInFuture, "head_in_future")] {
            assert_eq!(clock(NodeState { clock: state, ..NodeState::default() }), ("unavailable", shown));
        }
    }

    #[test]
    fn not_ready_without_heartbeats_or_with_dropped_tables() {
        let view = |node| readiness(&node, "off");
        let silent =
            |seconds| NodeState { silence: Some(Duration::from_secs(seconds)), ..NodeState::default() };
        assert_eq!((view(silent(2)).status, view(silent(2)).feed), ("ok", "ok"));
        assert_eq!((view(silent(6)).status, view(silent(6)).feed), ("unavailable", "silent"));
        let gone = view(NodeState { rows_dropped: true, ..NodeState::default() });
        assert_eq!((gone.status, gone.users, gone.database), ("unavailable", "gone", "ok"));
        let damaged = view(NodeState { log_dropped: true, ..NodeState::default() });
        assert_eq!((damaged.status, damaged.users, damaged.database), ("unavailable", "ok", "damaged"));
    }
}
