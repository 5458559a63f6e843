//! Queries: rows of read models, and how fresh they are. Never events, except to ask where the log's head is, how old what
//! is not projected yet, and for what was (`history`).

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
pub use users::{PROJECTION_WAIT_TIMEOUT, QueryError, UserQueries};
pub use webhooks::WebhookQueries;

use ::projections::Projection;
use store::{EventStore, Position, StoreError, Table};

/// The table of a read model that is read now, as far as this process has heard.
fn live_table(store: &EventStore, projection: &'static dyn Projection) -> Table {
    projection.table(store.progress().live_version(projection.name()))
}

/// Nothing that was read of a table is taken at its word if that was dropped behind the service's back.
fn ensure_not_dropped(store: &EventStore, table: &Table) -> Result<(), QueryError> {
    if store.progress().dropped.contains(&table.name) {
        Err(StoreError::table_dropped(&table.name).into())
    } else {
        Ok(())
    }
}

/// Waits until that table shows the log up to a position, for at most [`PROJECTION_WAIT_TIMEOUT`].
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
