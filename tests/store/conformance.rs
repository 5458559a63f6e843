//! The promises of the event store, on every backend.

use async_trait::async_trait;
use store::conformance::{Fixture, Handle};
use store_mongo::MongoStore;
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use testkit::Database;

/// An embedded database in a folder of its own.
pub(crate) struct Sqlite(pub(crate) TempDir);

#[async_trait]
impl Fixture for Sqlite {
    async fn open(&self) -> Handle {
        Handle::of(SqliteStore::open(&self.0.path().join("aegis.db")).unwrap())
    }
}

/// A database of its own on the shared MongoDB.
pub(crate) struct Mongo(pub(crate) Database);

#[async_trait]
impl Fixture for Mongo {
    async fn open(&self) -> Handle {
        Handle::of(MongoStore::new(self.0.url(), self.0.name()).await.unwrap())
    }
}

async fn mongo() -> Mongo {
    Mongo(testkit::mongodb().await.database())
}

store::conformance!(sqlite, std::future::ready(Sqlite(TempDir::new().unwrap())));
store::conformance!(mongo, mongo());
