//! The ports that projections use: event store, read models and leases.

use std::sync::Arc;
use std::time::Duration;

use store::{EventStore, LeaseStore, ReadModelStore};

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
    /// How often to ask the database for changes of which no notification came.
    pub(crate) fn poll_interval(&self) -> Duration {
        let is_notified = self.events.since_heartbeat().is_some_and(|age| age < MAX_HEARTBEAT_AGE);
        if is_notified { SLOW_POLL } else { POLL }
    }
}
