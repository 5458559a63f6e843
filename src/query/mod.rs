//! Queries: rows of read models, and how fresh they are. Never events, except to ask where the log's head is, how old what
//! is not projected yet, and for what was (`history`).

mod claims;
mod history;
pub mod projections;
mod stats;
mod users;
mod webhooks;

pub use claims::claims_of;
pub use history::{
    Act, AsOf, Became, FieldChange, HeldWebhook, HistoryQueries, KeptPassword, Life, NoPoint, PastUser,
    PersonalRecord, UserChange, UserDifference,
};
pub use stats::{DayStats, Stats, StatsQueries};
pub use users::{FRESHNESS_BOUND, QueryError, UserQueries};
pub use webhooks::WebhookQueries;

use ::projections::Projection;
use store::{EventStore, Position, StoreError, Table};

/// The table of a read model that is read now, as far as this process has heard.
fn live(store: &EventStore, projection: &'static dyn Projection) -> Table {
    projection.table(store.signal().live(projection.name()))
}

/// Nothing that was read of a table is taken at its word if that was dropped behind the service's back.
fn unless_gone(store: &EventStore, table: &Table) -> Result<(), QueryError> {
    if store.signal().gone.contains(&table.name) { Err(StoreError::gone(&table.name).into()) } else { Ok(()) }
}

/// Waits until that table shows the log up to a position, for at most [`FRESHNESS_BOUND`].
async fn wait(
    store: &EventStore,
    projection: &'static dyn Projection,
    wanted: Position,
) -> Result<(), QueryError> {
    if store.projected(&live(store, projection).name, wanted, FRESHNESS_BOUND).await {
        Ok(())
    } else {
        Err(QueryError::Behind { name: projection.name(), wanted })
    }
}
