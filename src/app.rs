//! The composition root: the only file that names a concrete backend. From settings to a service that is ready, or
//! still waiting for its database.

mod node_name;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use projections::{Projection, Runner, RunnerHandle, Sources, models};
use store::rotation::WrappedKeys;
use store::tiles::{Proofs, TileStore};
use store::{Ambient, Backend, Deliveries, EventStore, Leases, ReadModels, Rotation, StoreError};
use store_mongo::MongoStore;
use store_sqlite::SqliteStore;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::command::{UserCommands, WebhookCommands};
use crate::config::{DatabaseSettings, MasterKeySetting, Settings};
use crate::crypto::{HashingPool, Tokens, UnusableHash};
use crate::query::{HistoryQueries, StatsQueries, UserQueries, WebhookQueries};
use crate::webhooks::dispatcher::{Dispatcher, DispatcherHandle};
use crate::webhooks::{Sender, Tools};

pub use node_name::{is_gone, node_name};

/// The embedded database's file in the data folder.
pub const DATABASE_FILE: &str = "aegis.db";
/// How long a process that will not start looks at what it cannot open.
const COUNTING: Duration = Duration::from_secs(3);
/// The pause between two tries to reach a database that does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// A database in all its roles.
#[derive(Clone)]
pub struct Database {
    /// The log.
    pub log: Arc<dyn Backend>,
    /// The read models.
    pub rows: Arc<dyn ReadModels>,
    /// Who works on them.
    pub leases: Arc<dyn Leases>,
    /// The log as a tree.
    pub tiles: Arc<dyn TileStore>,
    /// The wrapped keys.
    pub keys: Arc<dyn WrappedKeys>,
    /// How far webhooks are.
    pub deliveries: Arc<dyn Deliveries>,
}

impl Database {
    /// One database in all roles.
    pub fn of<D>(database: D) -> Self
    where
        D: Backend + ReadModels + Leases + TileStore + WrappedKeys + Deliveries + 'static,
    {
        let database = Arc::new(database);
        Self {
            log: database.clone(),
            rows: database.clone(),
            leases: database.clone(),
            tiles: database.clone(),
            keys: database.clone(),
            deliveries: database,
        }
    }

    /// The database that the settings name. A MongoDB that is out of reach is no error here.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be used.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, StoreError> {
        match settings {
            DatabaseSettings::Embedded { data_dir } => Self::embedded(data_dir),
            DatabaseSettings::Mongo { url, name } => MongoStore::new(url.expose(), name).await.map(Self::of),
        }
    }

    fn embedded(data_dir: &Path) -> Result<Self, StoreError> {
        SqliteStore::open(&data_dir.join(DATABASE_FILE)).map(Self::of)
    }
}

/// What works once the database has been reached.
pub struct Node {
    /// The event store.
    pub store: EventStore,
    /// What projections work on.
    pub sources: Sources,
    /// Commands to users.
    pub users: UserCommands,
    /// Queries of users.
    pub user_rows: UserQueries,
    /// Commands to webhooks.
    pub webhooks: WebhookCommands,
    /// Queries of webhooks.
    pub webhook_rows: WebhookQueries,
    /// How far webhooks are.
    pub deliveries: Arc<dyn Deliveries>,
    /// What their deliveries need.
    pub delivery_tools: Tools,
    /// Queries of what happened day by day.
    pub stats: StatsQueries,
    /// Queries of what users were.
    pub history: HistoryQueries,
    /// Proofs that the log is the one that was signed.
    pub proofs: Proofs,
    runners: Vec<RunnerHandle>,
    /// Makes tiles behind the appends.
    growing: Option<AbortOnDropHandle<()>>,
    delivering: Option<DispatcherHandle>,
}

impl Node {
    /// Opens the log, makes the tables of the read models, and starts to project unless told not to.
    ///
    /// # Errors
    /// [`StoreError`]: out of reach, or not one that this service may use.
    pub async fn open(
        database: &Database,
        master_key: &MasterKeySetting,
        ambient: &Ambient,
        project: Projecting,
    ) -> Result<Self, StoreError> {
        let (log, rows) = (Arc::clone(&database.log), Arc::clone(&database.rows));
        let store = match EventStore::open(log, master_key.ring(), ambient.clone()).await {
            Err(StoreError::KeyMissing(what)) => {
                return Err(Box::pin(without_key(what, database, master_key, ambient)).await);
            }
            opened => opened?,
        };
        let sources =
            Sources { events: store.clone(), rows: Arc::clone(&rows), leases: Arc::clone(&database.leases) };
        let (name, mut runners) = (node_name(ambient), Vec::new());
        for projection in projections::all() {
            // Nothing is read or written before it is known which of the tables is live.
            models::open(projection, &sources, "system", ambient.now()).await?;
            if project == Projecting::Yes {
                runners.push(runner(projection, &sources, ambient, &name));
            }
        }
        let proofs = Proofs::new(store.clone(), Arc::clone(&database.tiles));
        let webhooks = WebhookCommands::new(store.clone(), ambient.clone());
        let user_rows = UserQueries::new(store.clone(), Arc::clone(&rows));
        let deliveries = Arc::clone(&database.deliveries);
        let (commands, readers) = (webhooks.clone(), user_rows.clone());
        Ok(Self {
            users: UserCommands::new(store.clone(), ambient.clone()),
            delivery_tools: Tools::new(
                store.clone(),
                commands,
                readers,
                Arc::clone(&deliveries),
                ambient.clone(),
            ),
            webhooks,
            user_rows,
            webhook_rows: WebhookQueries::new(store.clone(), Arc::clone(&rows)),
            deliveries,
            delivering: None,
            stats: StatsQueries::new(store.clone(), rows),
            growing: (project == Projecting::Yes).then(|| growing(&proofs)),
            history: HistoryQueries::new(store.clone()),
            proofs,
            store,
            sources,
            runners,
        })
    }

    /// Starts to deliver webhooks whenever no other node does.
    fn deliver(&mut self, sender: &Sender, ambient: &Ambient) {
        let dispatcher = Dispatcher {
            tools: self.delivery_tools.clone(),
            sender: sender.clone(),
            rows: self.webhook_rows.clone(),
            leases: Arc::clone(&self.sources.leases),
            holder: node_name(ambient),
            is_gone,
        };
        self.delivering = Some(dispatcher.start());
    }

    /// The runners of this node; none if it does not project.
    #[must_use]
    pub fn runners(&self) -> &[RunnerHandle] {
        &self.runners
    }

    /// Finishes the writes that were handed over, and gives the leases back. Later writes are refused.
    pub async fn close(&self) {
        if let Some(delivering) = &self.delivering {
            delivering.stop().await;
        }
        for runner in &self.runners {
            runner.stop().await;
        }
        if let Some(growing) = &self.growing {
            growing.abort();
        }
        self.store.close().await;
    }
}

/// Says also how many people cannot be read without the key, if that can be found out soon.
async fn without_key(
    what: String,
    database: &Database,
    masters: &MasterKeySetting,
    ambient: &Ambient,
) -> StoreError {
    let rotation = Rotation::new(Arc::clone(&database.keys), Arc::new(masters.keys()), ambient.clone());
    let Ok(Ok(survey)) = timeout(COUNTING, rotation.survey()).await else {
        return StoreError::KeyMissing(what);
    };
    let missing = survey.wraps.iter().filter(|(id, _)| masters.origin(**id).is_none());
    let missing = missing.map(|(id, wraps)| format!(" Master key {id} wraps {wraps}."));
    StoreError::KeyMissing(what + &missing.collect::<String>())
}

/// Starts to make tiles as the log grows.
fn growing(proofs: &Proofs) -> AbortOnDropHandle<()> {
    let proofs = proofs.clone();
    AbortOnDropHandle::new(tokio::spawn(async move { proofs.keep_growing().await }))
}

/// Starts to keep a read model whenever no other node does, as the node of this name.
#[must_use]
pub fn runner(
    projection: &'static dyn Projection,
    sources: &Sources,
    ambient: &Ambient,
    name: &str,
) -> RunnerHandle {
    Runner::new(projection, sources.clone(), ambient.clone(), name).told_who_is_gone(is_gone).start()
}

/// Whether a node keeps the read models up to date itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projecting {
    /// It does.
    Yes,
    /// It relies on another node.
    No,
}

/// The service: what works at once, and what works once the database has been reached.
pub struct App {
    /// The settings.
    pub settings: Settings,
    /// Time and chance.
    pub ambient: Ambient,
    /// Hashes and checks passwords.
    pub hashing: HashingPool,
    /// Issues and checks access tokens.
    pub tokens: Tokens,
    /// Sends to webhooks.
    pub sender: Sender,
    node: OnceLock<Node>,
    /// Why the database cannot be used yet, for people to read.
    trouble: std::sync::Mutex<Option<String>>,
}

impl App {
    /// The service without its database.
    ///
    /// # Errors
    /// [`UnusableHash`] if the costs of password hashing are out of range.
    pub fn new(settings: Settings, ambient: Ambient) -> Result<Self, UnusableHash> {
        Ok(Self {
            hashing: HashingPool::start(&settings.passwords, &ambient)?,
            tokens: Tokens::new(&settings.tokens, ambient.clone()),
            sender: Sender::new(&settings.webhooks),
            settings,
            ambient,
            node: OnceLock::new(),
            trouble: std::sync::Mutex::new(None),
        })
    }

    /// Connects to the database that the settings name, and opens it, trying again for as long as it is only out of
    /// reach. Requests do not see it before [`App::publish`].
    ///
    /// # Errors
    /// [`StoreError::Refused`], [`StoreError::KeyMissing`] or [`StoreError::Corrupt`] if it is not one that this service may use.
    pub async fn reach(&self, project: Projecting) -> Result<Node, StoreError> {
        let database = self.until_reached(|| Database::connect(&self.settings.database)).await?;
        self.open(&database, project).await
    }

    /// Opens a database, trying again for as long as it is only out of reach.
    ///
    /// # Errors
    /// As [`App::reach`].
    pub async fn open(&self, database: &Database, project: Projecting) -> Result<Node, StoreError> {
        // Boxed: it is large, and so would be every future around it.
        let mut node = self
            .until_reached(|| {
                Box::pin(Node::open(database, &self.settings.master_key, &self.ambient, project))
            })
            .await?;
        if project == Projecting::Yes {
            node.deliver(&self.sender, &self.ambient);
        }
        Ok(node)
    }

    /// Lets requests use the node: from here on the service is ready.
    pub fn publish(&self, node: Node) -> &Node {
        self.set_trouble(None);
        self.node.get_or_init(|| node)
    }

    /// Finishes the writes that were handed over; later ones are refused. For when nobody is served any more.
    pub async fn close(&self) {
        if let Some(node) = self.node.get() {
            node.close().await;
        }
    }

    /// Tries until it is done, or fails for another reason than that the database is out of reach.
    async fn until_reached<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut told = false;
        loop {
            match attempt().await {
                Err(error) if error.is_transient() => {
                    if !told {
                        tracing::warn!(%error, "starting without the database; trying on until it answers");
                        told = true;
                    }
                    self.set_trouble(Some(error.to_string()));
                    tokio::time::sleep(RETRY).await;
                }
                done => {
                    if told && done.is_ok() {
                        tracing::info!("the database has been reached");
                    }
                    return done;
                }
            }
        }
    }

    /// What works once the database has been reached.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it was not reached yet.
    pub fn node(&self) -> Result<&Node, StoreError> {
        self.node.get().ok_or_else(|| {
            let trouble = self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            StoreError::Unavailable {
                what: trouble.unwrap_or_else(|| "it is being opened".to_owned()),
                source: None,
            }
        })
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = trouble;
    }
}
