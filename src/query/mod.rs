//! Queries: rows of the read models and their freshness (read-your-writes, `Aegis-Min-Position`). Events are
//! read only for the head of the log, the projection lag and the past (`history`).

mod claims;
mod history;
pub mod projections;
mod stats;
mod users;
mod webhooks;

pub use claims::claim_change;
pub use history::{
    AsOf, FieldChange, HistoryQueries, OwnedWebhook, ParseAsOfError, PersonalRecord, ReplayedUser,
    StoredPassword, UserAction, UserAt, UserChange, UserChangeKind, UserDifference,
};
pub use stats::{DayStats, Stats, StatsQueries};
pub use users::UserQueries;
pub use webhooks::WebhookQueries;

use std::sync::Arc;
use std::time::Duration;

use ::projections::Projection;
use store::{EventStore, Position, ReadModelStore, RowPage, StoreError, Table};

/// How long a request waits for a projection to catch up.
const PROJECTION_WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a query was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The projection did not reach the position in time: what its rows do not show may exist nevertheless.
    #[error("the read model `{name}` is behind the log: it has not reached position {wanted} within 2 s")]
    Behind { name: &'static str, wanted: Position },
    /// The log has not reached the requested position.
    #[error("position {wanted} is beyond the head of the log, which is at {head}")]
    BeyondHead { wanted: Position, head: Position },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The live table of a read model according to this process, without asking the database.
fn live_table(store: &EventStore, projection: &'static dyn Projection) -> Table {
    projection.table(store.progress().live_version(projection.name()))
}

/// How often a read is repeated because the table was removed after this process had learnt that it is live.
const MAX_LIVE_ATTEMPTS: usize = 3;

/// Which rows of a table to read.
#[derive(Clone, Copy)]
enum RowsQuery<'a> {
    /// Those whose column has this text.
    Find { column: &'static str, text: &'a str },
    /// By ascending key after `after`.
    Page { after: Option<&'a str>, limit: usize },
}

/// Reads rows of the live version of a read model; returns them with their table. Every answer carries the
/// checkpoint of its snapshot: if it says that the table was removed, because this process has missed a
/// cutover, the live version is resolved again.
async fn read_live(
    store: &EventStore,
    rows: &Arc<dyn ReadModelStore>,
    projection: &'static dyn Projection,
    query: RowsQuery<'_>,
) -> Result<(Table, RowPage), QueryError> {
    let mut table = live_table(store, projection);
    for _ in 0..MAX_LIVE_ATTEMPTS {
        let page = match query {
            RowsQuery::Find { column, text } => rows.find(&table, column, text).await?,
            RowsQuery::Page { after, limit } => rows.row_page(&table, after, limit).await?,
        };
        if store.progress().dropped.contains(&table.name) {
            return Err(StoreError::table_dropped(&table.name).into());
        }
        if !page.checkpoint.is_removed() {
            return Ok((table, page));
        }
        let versions = rows.versions(projection.name()).await?;
        table = projection.table(versions.map_or(1, |versions| versions.live));
    }
    Err(QueryError::Behind { name: projection.name(), wanted: store.progress().head })
}

/// Reads rows as [`read_live`], but not of a table that is being filled again: its missing rows would look as
/// if they did not exist.
async fn read_complete(
    store: &EventStore,
    rows: &Arc<dyn ReadModelStore>,
    projection: &'static dyn Projection,
    query: RowsQuery<'_>,
) -> Result<(Table, RowPage), QueryError> {
    let (table, page) = read_live(store, rows, projection, query).await?;
    if store.progress().is_refilling(page.checkpoint) {
        return Err(QueryError::Behind { name: projection.name(), wanted: page.head });
    }
    Ok((table, page))
}

/// Waits until the live table includes a position, for at most [`PROJECTION_WAIT_TIMEOUT`].
async fn wait_until_projected(
    store: &EventStore,
    projection: &'static dyn Projection,
    wanted: Position,
) -> Result<(), QueryError> {
    if store.wait_until_applied(&live_table(store, projection).name, wanted, PROJECTION_WAIT_TIMEOUT).await {
        Ok(())
    } else {
        Err(QueryError::Behind { name: projection.name(), wanted })
    }
}
