//! `aegis projections status`: how far each read model is. Whoever keeps it is another process, so its state is told
//! by what can be seen from here: that it moves, or what the next event would do to it.

use std::time::Duration;

use projections::{Poison, Projection};
use serde::Serialize;
use store::{Checkpoint, EventQuery, StoreError};
use tokio::time::{Instant, sleep};

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Table;

/// How long a read model that is behind is watched: longer than a projector ever waits for work.
const WATCH: Duration = Duration::from_millis(2_500);
const GLANCE: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Status {
    name: &'static str,
    /// The table that is read: named by the projection and its version, and by turns `_b`.
    table: &'static str,
    position: u64,
    head: u64,
    lag: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(["NAME", "TABLE", "POSITION", "HEAD", "LAG", "STATE"]);
    for projection in projections::all() {
        let status = status(projection, session).await?;
        if arguments.json {
            out.json(&status)?;
            continue;
        }
        table.row([
            status.name.to_owned(),
            status.table.to_owned(),
            status.position.to_string(),
            status.head.to_string(),
            status.lag.to_string(),
            status
                .reason
                .map_or_else(|| status.state.to_owned(), |reason| format!("{}: {reason}", status.state)),
        ]);
    }
    table.print(out)
}

async fn status(projection: &'static dyn Projection, session: &Session) -> Result<Status, StoreError> {
    let table = live(projection, session).await?;
    // In this order: what happens in between can only make the lag look larger, never negative.
    let checkpoint = session.node.rows.checkpoint(table).await?;
    let head = session.node.store.head().await?.position;
    let (state, reason) = if checkpoint.position >= head {
        ("current", None)
    } else if let Some(poison) = next_is_poison(projection, session, checkpoint).await? {
        ("halted", Some(poison.to_string()))
    } else if moves(projection, session, checkpoint).await? {
        ("catching up", None)
    } else {
        ("stopped", Some("no service keeps it up to date; is one running?".to_owned()))
    };
    Ok(Status {
        name: projection.name(),
        table: table.name,
        position: checkpoint.position.get(),
        head: head.get(),
        lag: head.get().saturating_sub(checkpoint.position.get()),
        state,
        reason,
    })
}

async fn live(
    projection: &'static dyn Projection,
    session: &Session,
) -> Result<&'static store::Table, StoreError> {
    let pair = projection.pair();
    Ok(pair.live(session.node.rows.switches(pair).await?))
}

/// Folds the next event, without writing anything: a projector that halted there would halt again.
async fn next_is_poison(
    projection: &'static dyn Projection,
    session: &Session,
    at: Checkpoint,
) -> Result<Option<Poison>, StoreError> {
    let query = EventQuery { after: at.position, limit: 1, ..EventQuery::default() };
    let events = session.node.store.read(&query).await?;
    let Some(event) = events.first() else { return Ok(None) };
    let Some(key) = projection.key(event) else { return Ok(None) };
    let row = session
        .node
        .rows
        .rows(live(projection, session).await?, std::slice::from_ref(&key))
        .await?
        .remove(&key);
    Ok(projection.fold(row, event).err())
}

async fn moves(
    projection: &'static dyn Projection,
    session: &Session,
    from: Checkpoint,
) -> Result<bool, StoreError> {
    let begun = Instant::now();
    let table = live(projection, session).await?;
    while begun.elapsed() < WATCH {
        if session.node.rows.checkpoint(table).await? != from {
            return Ok(true);
        }
        sleep(GLANCE).await;
    }
    Ok(false)
}
