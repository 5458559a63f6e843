//! Processes on a MongoDB that a test can make fail.

use std::sync::atomic::{AtomicUsize, Ordering};

use store::conformance::{BackendHandle, Harness};
use store::{EventStore, ReadModelStore};
use store_mongo::MongoStore;
use testkit::MongodServer;

/// Sets databases on one server apart.
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// One database that processes share.
pub(crate) struct MongoFixture {
    pub(crate) url: String,
    pub(crate) database: String,
    pub(crate) harness: Harness,
    /// Dropped with the value, where the server is not the test's own.
    _shared: Option<testkit::TestDatabase>,
}

/// A process that uses it.
pub(crate) struct Process {
    pub(crate) store: EventStore,
    pub(crate) handle: BackendHandle,
}

impl MongoFixture {
    /// A new database on a server of the test's own.
    pub(crate) fn on(server: &MongodServer) -> Self {
        Self::at(server.url())
    }

    /// A new database on the servers of the test's own that `url` names.
    pub(crate) fn at(url: String) -> Self {
        let database = format!("aegis_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        Self { url, database, harness: Harness::new(NoFixture), _shared: None }
    }

    /// A new database on the server that all tests share.
    pub(crate) async fn shared() -> Self {
        let shared = testkit::shared_mongodb().await.database();
        let (url, database) = (shared.url().to_owned(), shared.name().to_owned());
        Self { url, database, harness: Harness::new(NoFixture), _shared: Some(shared) }
    }

    /// A new process, which the server knows under that name: fail points can be aimed at it.
    pub(crate) async fn process(&self, name: &str) -> Process {
        let handle = self.handle(name).await;
        Process { store: self.harness.store_on(&handle).await, handle }
    }

    /// The same, without a log yet.
    pub(crate) async fn handle(&self, name: &str) -> BackendHandle {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}appName={name}", self.url);
        BackendHandle::new(MongoStore::new(&url, &self.database).await.unwrap())
    }

    /// The full name of a collection, as fail points want it.
    pub(crate) fn namespace(&self, collection: &str) -> String {
        format!("{}.{collection}", self.database)
    }
}

impl Process {
    pub(crate) fn rows(&self) -> &dyn ReadModelStore {
        &*self.handle.rows
    }
}

/// The harness's processes are opened by name here, so it has nothing to open by itself.
struct NoFixture;

#[async_trait::async_trait]
impl store::conformance::Fixture for NoFixture {
    async fn open(&self) -> BackendHandle {
        unreachable!("processes of this harness have names")
    }
}
