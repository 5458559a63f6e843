//! `GET /health/ready`: whether requests that need the database would be answered now, asked anew each time.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use projections::{Health, Projection, Standing, Users};
use serde::Serialize;
use store::{Position, StoreError};
use utoipa::ToSchema;

use crate::app::{App, Node};

/// How long a part may take to answer.
const BOUND: Duration = Duration::from_secs(2);
/// How many events the read model may be behind: what a projector catches up within a second or so.
const MAX_LAG: u64 = 10_000;
/// For how long the commits of other processes may have been out of hearing. They are looked for every second.
const MAX_SILENCE: Duration = Duration::from_secs(5);

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
    let found = match app.node() {
        Ok(node) => match tokio::time::timeout(BOUND, positions(node)).await {
            Ok(Ok((head, rows))) => Found::Reached(stand(node, head, rows)),
            Ok(Err(StoreError::Corrupt(_))) => Found::Damaged,
            Ok(Err(_)) | Err(_) => Found::Unreachable,
        },
        Err(_) => Found::Unreachable,
    };
    let view = judge(&found);
    match view.status {
        "ok" => Json(view).into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(view)).into_response(),
    }
}

/// What was found out.
enum Found {
    Unreachable,
    Damaged,
    Reached(Stand),
}

/// How a node whose database answers stands.
#[derive(Default)]
struct Stand {
    /// How the projection is doing, if anybody says.
    health: Option<Health>,
    head: Position,
    rows: Position,
    /// Whether the table that is read was dropped.
    rows_gone: bool,
    /// Whether something else was.
    log_gone: bool,
    silence: Option<Duration>,
}

fn stand(node: &Node, head: Position, rows: Position) -> Stand {
    let (signal, name) = (node.store.signal(), Users.name());
    let live = signal.live(name);
    let standing = node.runners().iter().find(|runner| runner.projection().name() == name);
    let of_read_model = |table: &str| {
        let named = |name: &str| table.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
        projections::all().iter().any(|projection| named(projection.name()))
    };
    Stand {
        health: standing.and_then(|runner| health(runner.standing(), live)),
        head,
        rows,
        rows_gone: signal.gone.contains(format!("{name}_{live}").as_str()),
        log_gone: signal.gone.iter().any(|name| !of_read_model(name)),
        silence: node.store.silence(),
    }
}

/// How the version that is read is doing, whichever node keeps it; nothing if nobody says.
fn health(mut standing: Standing, live: u64) -> Option<Health> {
    standing.report.versions.remove(&live).map(|version| version.health)
}

async fn positions(node: &Node) -> Result<(Position, Position), StoreError> {
    let rows = &node.sources.rows;
    let live = rows.versions(Users.name()).await?.map_or(1, |versions| versions.live);
    let users: &dyn Projection = &Users;
    let rows = rows.checkpoint(&users.table(live)).await?.position;
    let head = node.store.head().await?.position;
    Ok((head, rows))
}

fn judge(found: &Found) -> ReadyView {
    let stand = match found {
        Found::Unreachable => return unready("unreachable"),
        Found::Damaged => return unready("damaged"),
        Found::Reached(stand) => stand,
    };
    let lag = stand.head.get().saturating_sub(stand.rows.get());
    let users = match stand.health {
        _ if stand.rows_gone => "gone",
        Some(Health::Halted(_)) => "halted",
        Some(Health::Unknown(_)) => "unknown",
        Some(Health::Failing(_)) => "failing",
        Some(Health::Running) | None if lag > MAX_LAG => "behind",
        Some(Health::Running) | None => "ok",
    };
    let database = if stand.log_gone { "damaged" } else { "ok" };
    let feed = if stand.silence.is_some_and(|silence| silence > MAX_SILENCE) { "silent" } else { "ok" };
    let well = [database, users, feed].iter().all(|part| *part == "ok");
    let status = if well { "ok" } else { "unavailable" };
    ReadyView { status, database, users, feed, head: Some(stand.head.get()), lag: Some(lag) }
}

/// What is said when even the positions cannot be read.
fn unready(database: &'static str) -> ReadyView {
    let (status, unknown) = ("unavailable", "unknown");
    ReadyView { status, database, users: unknown, feed: unknown, head: None, lag: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(health: Option<Health>, head: u64, rows: u64) -> (&'static str, &'static str) {
        let (head, rows) = (Position::new(head), Position::new(rows));
        let view = judge(&Found::Reached(Stand { health, head, rows, ..Stand::default() }));
        (view.status, view.users)
    }

    #[test]
    fn a_service_is_ready_if_every_part_is() {
        assert_eq!(users(Some(Health::Running), 7, 7), ("ok", "ok"));
        assert_eq!(users(None, 7, 5), ("ok", "ok"));
        assert_eq!(users(None, 20_000, 5), ("unavailable", "behind"));
        assert_eq!(users(Some(Health::Failing("x".to_owned())), 7, 7), ("unavailable", "failing"));
        assert_eq!(users(Some(Health::Halted("x".to_owned())), 7, 3), ("unavailable", "halted"));
        assert_eq!(judge(&Found::Unreachable).database, "unreachable");
        assert_eq!(judge(&Found::Damaged).database, "damaged");
    }

    #[test]
    fn a_service_that_hears_nothing_or_has_lost_something_is_not_ready() {
        let view = |stand| judge(&Found::Reached(stand));
        let silent = |seconds| Stand { silence: Some(Duration::from_secs(seconds)), ..Stand::default() };
        assert_eq!((view(silent(2)).status, view(silent(2)).feed), ("ok", "ok"));
        assert_eq!((view(silent(6)).status, view(silent(6)).feed), ("unavailable", "silent"));
        let gone = view(Stand { rows_gone: true, ..Stand::default() });
        assert_eq!((gone.status, gone.users, gone.database), ("unavailable", "gone", "ok"));
        let damaged = view(Stand { log_gone: true, ..Stand::default() });
        assert_eq!((damaged.status, damaged.users, damaged.database), ("unavailable", "ok", "damaged"));
    }
}
