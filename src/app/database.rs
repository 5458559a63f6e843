//! The database: the only file that names a concrete backend.

use std::path::Path;
use std::sync::Arc;

use store::rotation::WrappedKeyStore;
use store::tiles::TileStore;
use store::{Backend, DeliveryStore, LeaseStore, ReadModelStore, SessionStore, StoreError};
use store_mongo::MongoStore;
pub use store_mongo::{LegacyDocument, LegacyUsers};
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
    /// The same database, if it may hold users of a legacy service.
    mongodb: Option<MongoStore>,
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
            mongodb: None,
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
                let store = MongoStore::new(url.expose(), name).await?;
                Ok(Self { mongodb: Some(store.clone()), ..Self::from_backend(store) })
            }
        }
    }

    /// Whether the database contains users of a legacy service.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be read.
    pub async fn has_legacy_users(&self) -> Result<bool, StoreError> {
        match &self.mongodb {
            Some(store) => store.has_legacy_users().await,
            None => Ok(false),
        }
    }

    fn embedded(data_dir: &Path) -> Result<Self, StoreError> {
        SqliteStore::open(&data_dir.join(DATABASE_FILE)).map(Self::from_backend)
    }
}
