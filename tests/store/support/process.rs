//! Simulated processes on a MongoDB with fault injection.

use std::sync::atomic::{AtomicUsize, Ordering};

use store::conformance::{BackendHandle, Harness};
use store::{EventStore, ReadModelStore};
use store_mongo::MongoStore;
use testkit::MongodServer;

/// Makes database names on one server unique.
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// A database that simulated processes share.
pub(crate) struct MongoFixture {
    pub(crate) url: String,
    pub(crate) database: String,
    pub(crate) harness: Harness,
    /// Deletes the database when dropped, if the server is shared.
    _shared: Option<testkit::TestDatabase>,
}

/// A simulated process.
pub(crate) struct Process {
    pub(crate) store: EventStore,
    pub(crate) handle: BackendHandle,
}

impl MongoFixture {
    /// A new database on a private server.
    pub(crate) fn on(server: &MongodServer) -> Self {
        Self::at(server.url())
    }

    /// A new database on private servers.
    pub(crate) fn at(url: String) -> Self {
        let database = format!("aegis_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        Self { url, database, harness: Harness::new(NoFixture), _shared: None }
    }

    /// A new database on the shared server.
    pub(crate) async fn shared() -> Self {
        let shared = testkit::shared_mongodb().await.database();
        let (url, database) = (shared.url().to_owned(), shared.name().to_owned());
        Self { url, database, harness: Harness::new(NoFixture), _shared: Some(shared) }
    }

    /// Opens the store as a process with this application name, which fail points can select.
    pub(crate) async fn process(&self, name: &str) -> Process {
        let handle = self.handle(name).await;
        Process { store: self.harness.store_on(&handle).await, handle }
    }

    /// Like [`MongoFixture::process`], without creating a log.
    pub(crate) async fn handle(&self, name: &str) -> BackendHandle {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}appName={name}", self.url);
        BackendHandle::new(MongoStore::new(&url, &self.database).await.unwrap())
    }

    /// The namespace of a collection, for fail points.
    pub(crate) fn namespace(&self, collection: &str) -> String {
        format!("{}.{collection}", self.database)
    }
}

impl Process {
    pub(crate) fn rows(&self) -> &dyn ReadModelStore {
        &*self.handle.rows
    }
}

/// Processes are opened by name, so the harness opens none itself.
struct NoFixture;

#[async_trait::async_trait]
impl store::conformance::Fixture for NoFixture {
    async fn open(&self) -> BackendHandle {
        unreachable!("use `MongoFixture::process`")
    }
}
