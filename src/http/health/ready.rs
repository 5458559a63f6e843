//! `GET /health/ready`: whether requests that need the database would be answered now, asked anew each time.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use projections::{LeadershipStatus, Projection, Users, VersionHealth};
use serde::Serialize;
use store::{Position, StoreError};
use utoipa::ToSchema;

use crate::app::{App, Services};

/// How long a part may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many events the read model may be behind: what a projector catches up within a second or so.
const MAX_LAG: u64 = 10_000;
/// For how long the commits of other processes may have been out of hearing. They are looked for every second.
const MAX_HEARTBEAT_AGE: Duration = Duration::from_secs(5);

/// Whether the service can do its work, part by part.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadyView {
    /// `ok`, or `unavailable` if a part is not `ok`.
    status: &'static str,
    /// The database: `ok`, `unreachable` or `damaged`.
    database: &'static str,
    /// The read model `users`: `ok`, `behind`, `failing`, `halted`, `gone` or `unknown`.
    users: &'static str,
    /// Hearing of what other processes commit: `ok`, `silent` or `unknown`.
    feed: &'static str,
    /// The head of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    /// How many events `users` is behind the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
}

/// Says whether the service can do its work.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "service",
    operation_id = "ready",
    responses(
        (status = 200, description = "It can", body = ReadyView),
        (status = 503, description = "It cannot; the part that is not `ok` says why", body = ReadyView),
    ),
)]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let found = match app.services() {
        Ok(services) => match tokio::time::timeout(PROBE_TIMEOUT, positions(services)).await {
            Ok(Ok((head, rows))) => DatabaseProbe::Reached(node_state(services, head, rows)),
            Ok(Err(StoreError::Corrupt(_))) => DatabaseProbe::Damaged,
            Ok(Err(_)) | Err(_) => DatabaseProbe::Unreachable,
        },
        Err(_) => DatabaseProbe::Unreachable,
    };
    let view = readiness(&found);
    match view.status {
        "ok" => Json(view).into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(view)).into_response(),
    }
}

/// What was found out.
enum DatabaseProbe {
    Unreachable,
    Damaged,
    Reached(NodeState),
}

/// How a node whose database answers stands.
#[derive(Default)]
struct NodeState {
    /// How the projection is doing, if anybody says.
    health: Option<VersionHealth>,
    head: Position,
    rows: Position,
    /// Whether the table that is read was dropped.
    rows_gone: bool,
    /// Whether something else was.
    log_gone: bool,
    silence: Option<Duration>,
}

fn node_state(services: &Services, head: Position, rows: Position) -> NodeState {
    let (progress, name) = (services.store.progress(), Users.name());
    let live = progress.live_version(name);
    let standing = services.projectors().iter().find(|runner| runner.projection().name() == name);
    let of_read_model = |table: &str| {
        let named = |name: &str| table.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
        projections::all().iter().any(|projection| named(projection.name()))
    };
    NodeState {
        health: standing.and_then(|runner| health(runner.status(), live)),
        head,
        rows,
        rows_gone: progress.dropped.contains(format!("{name}_{live}").as_str()),
        log_gone: progress.dropped.iter().any(|name| !of_read_model(name)),
        silence: services.store.since_heartbeat(),
    }
}

/// How the version that is read is doing, whichever node keeps it; nothing if nobody says.
fn health(mut standing: LeadershipStatus, live: u64) -> Option<VersionHealth> {
    standing.report.versions.remove(&live).map(|version| version.health)
}

async fn positions(services: &Services) -> Result<(Position, Position), StoreError> {
    let rows = &services.projection_context.rows;
    let live = rows.versions(Users.name()).await?.map_or(1, |versions| versions.live);
    let users: &dyn Projection = &Users;
    let rows = rows.checkpoint(&users.table(live)).await?.position;
    let head = services.store.head().await?.position;
    Ok((head, rows))
}

fn readiness(found: &DatabaseProbe) -> ReadyView {
    let stand = match found {
        DatabaseProbe::Unreachable => return unavailable("unreachable"),
        DatabaseProbe::Damaged => return unavailable("damaged"),
        DatabaseProbe::Reached(stand) => stand,
    };
    let lag = stand.head.get().saturating_sub(stand.rows.get());
    let users = match stand.health {
        _ if stand.rows_gone => "gone",
        Some(VersionHealth::Halted(_)) => "halted",
        Some(VersionHealth::Unknown(_)) => "unknown",
        Some(VersionHealth::Failing(_)) => "failing",
        Some(VersionHealth::Running) | None if lag > MAX_LAG => "behind",
        Some(VersionHealth::Running) | None => "ok",
    };
    let database = if stand.log_gone { "damaged" } else { "ok" };
    let feed = if stand.silence.is_some_and(|silence| silence > MAX_HEARTBEAT_AGE) { "silent" } else { "ok" };
    let well = [database, users, feed].iter().all(|part| *part == "ok");
    let status = if well { "ok" } else { "unavailable" };
    ReadyView { status, database, users, feed, head: Some(stand.head.get()), lag: Some(lag) }
}

/// What is said when even the positions cannot be read.
fn unavailable(database: &'static str) -> ReadyView {
    let (status, unknown) = ("unavailable", "unknown");
    ReadyView { status, database, users: unknown, feed: unknown, head: None, lag: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(health: Option<VersionHealth>, head: u64, rows: u64) -> (&'static str, &'static str) {
        let (head, rows) = (Position::new(head), Position::new(rows));
        let view =
            readiness(&DatabaseProbe::Reached(NodeState { health, head, rows, ..NodeState::default() }));
        (view.status, view.users)
    }

    #[test]
    fn ready_when_every_component_is() {
        assert_eq!(users(Some(VersionHealth::Running), 7, 7), ("ok", "ok"));
        assert_eq!(users(None, 7, 5), ("ok", "ok"));
        assert_eq!(users(None, 20_000, 5), ("unavailable", "behind"));
        assert_eq!(users(Some(VersionHealth::Failing("x".to_owned())), 7, 7), ("unavailable", "failing"));
        assert_eq!(users(Some(VersionHealth::Halted("x".to_owned())), 7, 3), ("unavailable", "halted"));
        assert_eq!(readiness(&DatabaseProbe::Unreachable).database, "unreachable");
        assert_eq!(readiness(&DatabaseProbe::Damaged).database, "damaged");
    }

    #[test]
    fn not_ready_without_heartbeats_or_with_dropped_tables() {
        let view = |stand| readiness(&DatabaseProbe::Reached(stand));
        let silent =
            |seconds| NodeState { silence: Some(Duration::from_secs(seconds)), ..NodeState::default() };
        assert_eq!((view(silent(2)).status, view(silent(2)).feed), ("ok", "ok"));
        assert_eq!((view(silent(6)).status, view(silent(6)).feed), ("unavailable", "silent"));
        let gone = view(NodeState { rows_gone: true, ..NodeState::default() });
        assert_eq!((gone.status, gone.users, gone.database), ("unavailable", "gone", "ok"));
        let damaged = view(NodeState { log_gone: true, ..NodeState::default() });
        assert_eq!((damaged.status, damaged.users, damaged.database), ("unavailable", "ok", "damaged"));
    }
}
