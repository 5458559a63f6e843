//! The ports that projections use: event store, read models and leases.

use std::sync::Arc;
use std::time::Duration;

use store::{EventStore, LeaseStore, ReadModelStore, StoreError, Table, VersionStage};

/// How old the last heartbeat of the backend may be for its notifications to be relied on.
const MAX_HEARTBEAT_AGE: Duration = Duration::from_secs(2);
/// How often to look for changes beside the notifications of the backend, which itself polls every second.
const SLOW_POLL: Duration = Duration::from_secs(10);
/// How often to look for changes without notifications.
const POLL: Duration = Duration::from_secs(1);

/// The ports of one database. Clones share them.
#[derive(Clone)]
pub struct ProjectionContext {
    /// The log.
    pub events: EventStore,
    /// The rows.
    pub rows: Arc<dyn ReadModelStore>,
    /// The leases for leader election.
    pub leases: Arc<dyn LeaseStore>,
}

impl ProjectionContext {
    /// Creates the table of a version if it is missing, and its indexes once the version is read or kept: while
    /// it is being filled they would only cost.
    pub(crate) async fn prepare(&self, table: &Table, stage: VersionStage) -> Result<(), StoreError> {
        self.rows.prepare(table).await?;
        if stage == VersionStage::Ready {
            self.rows.index(table).await?;
        }
        Ok(())
    }

    /// How often to ask the database for changes of which no notification came.
    pub(crate) fn poll_interval(&self) -> Duration {
        let is_notified = self.events.since_heartbeat().is_some_and(|age| age < MAX_HEARTBEAT_AGE);
        if is_notified { SLOW_POLL } else { POLL }
    }
}
