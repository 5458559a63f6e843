//! What projections work on: the log, the rows, and the leases that say who works.

use std::sync::Arc;

use store::{EventStore, LeaseStore, ReadModelStore};

/// The ports of one database. Clones share them.
#[derive(Clone)]
pub struct ProjectionContext {
    /// The log.
    pub events: EventStore,
    /// The rows.
    pub rows: Arc<dyn ReadModelStore>,
    /// Who works.
    pub leases: Arc<dyn LeaseStore>,
}
