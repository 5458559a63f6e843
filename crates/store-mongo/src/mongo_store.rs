//! [`MongoStore`]: the connections and progress behind every port.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use store::{ProgressTracker, StoreError};

use crate::connection::Connection;

/// The names of the leases that this process held when it last asked.
pub(crate) type HeldLeases = Arc<Mutex<BTreeSet<String>>>;

/// A log and read models in a MongoDB database. Clones share connections and progress.
#[derive(Clone)]
pub struct MongoStore {
    pub(crate) connection: Connection,
    pub(crate) tracker: Arc<ProgressTracker>,
    pub(crate) watching: Arc<AtomicBool>,
    pub(crate) held_leases: HeldLeases,
}

impl MongoStore {
    /// A store in `database` on the server of `url` (`mongodb://…` or `mongodb+srv://…`). Does not connect:
    /// [`Backend::migrate`](store::Backend::migrate) does, and can be retried until it succeeds.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the URL or the database name is invalid; [`StoreError::Unavailable`] if the
    /// DNS records of a `mongodb+srv` URL cannot be resolved.
    pub async fn new(url: &str, database: &str) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Connection::new(url, database).await?,
            tracker: Arc::default(),
            watching: Arc::default(),
            held_leases: Arc::default(),
        })
    }
}
