//! Processes on a MongoDB that a test can make fail.

use std::sync::atomic::{AtomicUsize, Ordering};

use store::conformance::{Handle, World};
use store::{EventStore, ReadModels};
use store_mongo::MongoStore;
use testkit::MongodServer;

/// Sets databases on one server apart.
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// One database that processes share.
pub(crate) struct Mongo {
    pub(crate) url: String,
    pub(crate) database: String,
    pub(crate) world: World,
    /// Dropped with the value, where the server is not the test's own.
    _shared: Option<testkit::Database>,
}

/// A process that uses it.
pub(crate) struct Process {
    pub(crate) store: EventStore,
    pub(crate) handle: Handle,
}

impl Mongo {
    /// A new database on a server of the test's own.
    pub(crate) fn on(server: &MongodServer) -> Self {
        Self::at(server.url())
    }

    /// A new database on the servers of the test's own that `url` names.
    pub(crate) fn at(url: String) -> Self {
        let database = format!("aegis_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        Self { url, database, world: World::new(Nothing), _shared: None }
    }

    /// A new database on the server that all tests share.
    pub(crate) async fn shared() -> Self {
        let shared = testkit::mongodb().await.database();
        let (url, database) = (shared.url().to_owned(), shared.name().to_owned());
        Self { url, database, world: World::new(Nothing), _shared: Some(shared) }
    }

    /// A new process, which the server knows under that name: fail points can be aimed at it.
    pub(crate) async fn process(&self, name: &str) -> Process {
        let handle = self.handle(name).await;
        Process { store: self.world.store_on(&handle).await, handle }
    }

    /// The same, without a log yet.
    pub(crate) async fn handle(&self, name: &str) -> Handle {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}appName={name}", self.url);
        Handle::of(MongoStore::new(&url, &self.database).await.unwrap())
    }

    /// The full name of a collection, as fail points want it.
    pub(crate) fn namespace(&self, collection: &str) -> String {
        format!("{}.{collection}", self.database)
    }
}

impl Process {
    pub(crate) fn rows(&self) -> &dyn ReadModels {
        &*self.handle.rows
    }
}

/// The world's processes are opened by name here, so it has nothing to open by itself.
struct Nothing;

#[async_trait::async_trait]
impl store::conformance::Fixture for Nothing {
    async fn open(&self) -> Handle {
        unreachable!("processes of this world have names")
    }
}
