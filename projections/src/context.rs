//! The ports that projections use: event store, read models and leases.

use std::sync::Arc;

use store::{EventStore, LeaseStore, ReadModelStore};

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
