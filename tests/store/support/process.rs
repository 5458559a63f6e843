//! Processes on a MongoDB that a test can make fail.

use std::sync::atomic::{AtomicUsize, Ordering};

use store::conformance::{Handle, World};
use store::{EventStore, ReadModels};
use store_mongo::MongoStore;
use testkit::MongodServer;

/// Sets databases on one server apart.
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// One database on a server of the test's own.
pub(crate) struct Mongo {
    url: String,
    pub(crate) database: String,
    pub(crate) world: World,
}

/// A process that uses it.
pub(crate) struct Process {
    pub(crate) store: EventStore,
    pub(crate) handle: Handle,
}

impl Mongo {
    /// A new database.
    pub(crate) fn on(server: &MongodServer) -> Self {
        Self::at(&server.url())
    }

    /// A new database on whatever answers at `url`.
    pub(crate) fn at(url: &str) -> Self {
        let database = format!("aegis_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        Self { url: url.to_owned(), database, world: World::new(Nothing) }
    }

    /// A new process, which the server knows under that name: fail points can be aimed at it.
    pub(crate) async fn process(&self, name: &str) -> Process {
        let handle = self.handle(name).await;
        Process { store: self.world.store_on(&handle).await, handle }
    }

    /// The same, without a log yet.
    pub(crate) async fn handle(&self, name: &str) -> Handle {
        let url = format!("{}&appName={name}", self.url);
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
