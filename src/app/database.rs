//! The database: the only file that names a concrete backend.

use std::path::Path;
use std::sync::Arc;

use store::rotation::WrappedKeyStore;
use store::tiles::TileStore;
use store::{Backend, DeliveryStore, LeaseStore, ReadModelStore, SessionStore, StoreError};
use store_mongo::MongoStore;
use store_sqlite::SqliteStore;

use crate::config::{DATABASE_FILE, DatabaseSettings};

/// One database behind all its ports.
#[derive(Clone)]
pub struct Database {
    pub log: Arc<dyn Backend>,
    pub rows: Arc<dyn ReadModelStore>,
    pub leases: Arc<dyn LeaseStore>,
    pub tiles: Arc<dyn TileStore>,
    pub keys: Arc<dyn WrappedKeyStore>,
    pub deliveries: Arc<dyn DeliveryStore>,
    pub sessions: Arc<dyn SessionStore>,
}

impl Database {
    pub fn from_backend<D>(database: D) -> Self
    where
        D: Backend
            + ReadModelStore
            + LeaseStore
            + TileStore
            + WrappedKeyStore
            + DeliveryStore
            + SessionStore
            + 'static,
    {
        let database = Arc::new(database);
        Self {
            log: database.clone(),
            rows: database.clone(),
            leases: database.clone(),
            tiles: database.clone(),
            keys: database.clone(),
            deliveries: database.clone(),
            sessions: database,
        }
    }

    /// The database of the settings. An unreachable MongoDB is not an error here: the first operation reports
    /// it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be used.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, StoreError> {
        match settings {
            DatabaseSettings::Embedded { data_dir } => Self::embedded(data_dir),
            DatabaseSettings::Mongo { url, name } => {
                MongoStore::new(url.expose(), name).await.map(Self::from_backend)
            }
        }
    }

    fn embedded(data_dir: &Path) -> Result<Self, StoreError> {
        SqliteStore::open(&data_dir.join(DATABASE_FILE)).map(Self::from_backend)
    }
}
