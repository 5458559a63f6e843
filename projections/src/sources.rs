//! What projections work on: the log, the rows, and the leases that say who works.

use std::sync::Arc;

use store::{EventStore, Leases, ReadModels};

/// The ports of one database. Clones share them.
#[derive(Clone)]
pub struct Sources {
    /// The log.
    pub events: EventStore,
    /// The rows.
    pub rows: Arc<dyn ReadModels>,
    /// Who works.
    pub leases: Arc<dyn Leases>,
}
