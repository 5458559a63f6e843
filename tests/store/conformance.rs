//! The conformance suite on every backend.

use async_trait::async_trait;
use store::conformance::{BackendHandle, Fixture};
use store_mongo::MongoStore;
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use testkit::TestDatabase;

/// An embedded database in a temporary folder.
pub(crate) struct SqliteFixture(pub(crate) TempDir);

#[async_trait]
impl Fixture for SqliteFixture {
    async fn open(&self) -> BackendHandle {
        BackendHandle::new(SqliteStore::open(&self.0.path().join("aegis.db")).unwrap())
    }
}

/// A database on the shared MongoDB.
pub(crate) struct MongoFixture(pub(crate) TestDatabase);

#[async_trait]
impl Fixture for MongoFixture {
    async fn open(&self) -> BackendHandle {
        BackendHandle::new(MongoStore::new(self.0.url(), self.0.name()).await.unwrap())
    }
}

async fn mongo() -> MongoFixture {
    MongoFixture(testkit::shared_mongodb().await.database())
}

store::conformance!(sqlite, std::future::ready(SqliteFixture(TempDir::new().unwrap())));
store::conformance!(mongo, mongo());
