//! The composition root: the only file that names a concrete backend. From settings to a service that is ready, or
//! still waiting for its database.

mod node_name;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use projections::{Projection, ProjectionContext, ProjectionHandle, ProjectionRunner, lifecycle};
use store::rotation::WrappedKeyStore;
use store::tiles::{Proofs, TileStore};
use store::{Backend, DeliveryStore, Env, EventStore, LeaseStore, ReadModelStore, Rotation, StoreError};
use store_mongo::MongoStore;
use store_sqlite::SqliteStore;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::command::{UserCommands, WebhookCommands};
use crate::config::{DATABASE_FILE, DatabaseSettings, MasterKeySetting, Settings};
use crate::crypto::{HashingPool, PasswordHashError, Tokens};
use crate::query::{HistoryQueries, StatsQueries, UserQueries, WebhookQueries};
use crate::webhooks::dispatcher::{Dispatcher, DispatcherHandle};
use crate::webhooks::{DeliveryContext, WebhookSender};

pub use node_name::{is_dead_node, node_name};

/// How long a process that will not start looks at what it cannot open.
const KEY_SURVEY_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause between two tries to reach a database that does not answer.
const CONNECT_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// A database in all its roles.
#[derive(Clone)]
pub struct Database {
    /// The log.
    pub log: Arc<dyn Backend>,
    /// The read models.
    pub rows: Arc<dyn ReadModelStore>,
    /// Who works on them.
    pub leases: Arc<dyn LeaseStore>,
    /// The log as a tree.
    pub tiles: Arc<dyn TileStore>,
    /// The wrapped keys.
    pub keys: Arc<dyn WrappedKeyStore>,
    /// How far webhooks are.
    pub deliveries: Arc<dyn DeliveryStore>,
}

impl Database {
    /// One database in all roles.
    pub fn from_backend<D>(database: D) -> Self
    where
        D: Backend + ReadModelStore + LeaseStore + TileStore + WrappedKeyStore + DeliveryStore + 'static,
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
            DatabaseSettings::Mongo { url, name } => {
                MongoStore::new(url.expose(), name).await.map(Self::from_backend)
            }
        }
    }

    fn embedded(data_dir: &Path) -> Result<Self, StoreError> {
        SqliteStore::open(&data_dir.join(DATABASE_FILE)).map(Self::from_backend)
    }
}

/// What works once the database has been reached.
pub struct Services {
    /// The event store.
    pub store: EventStore,
    /// What projections work on.
    pub projection_context: ProjectionContext,
    /// Commands to users.
    pub users: UserCommands,
    /// Queries of users.
    pub user_rows: UserQueries,
    /// Commands to webhooks.
    pub webhooks: WebhookCommands,
    /// Queries of webhooks.
    pub webhook_rows: WebhookQueries,
    /// How far webhooks are.
    pub deliveries: Arc<dyn DeliveryStore>,
    /// What their deliveries need.
    pub delivery_context: DeliveryContext,
    /// Queries of what happened day by day.
    pub stats: StatsQueries,
    /// Queries of what users were.
    pub history: HistoryQueries,
    /// Proofs that the log is the one that was signed.
    pub proofs: Proofs,
    projectors: Vec<ProjectionHandle>,
    /// Makes tiles behind the appends.
    tile_builder: Option<AbortOnDropHandle<()>>,
    dispatcher: Option<DispatcherHandle>,
}

impl Services {
    /// Opens the log, makes the tables of the read models, and starts to project unless told not to.
    ///
    /// # Errors
    /// [`StoreError`]: out of reach, or not one that this service may use.
    pub async fn open(
        database: &Database,
        master_key: &MasterKeySetting,
        env: &Env,
        mode: ProjectionMode,
    ) -> Result<Self, StoreError> {
        let (log, rows) = (Arc::clone(&database.log), Arc::clone(&database.rows));
        let store = match EventStore::open(log, master_key.keyring(), env.clone()).await {
            Err(StoreError::KeyMissing(what)) => {
                return Err(Box::pin(missing_key_error(what, database, master_key, env)).await);
            }
            opened => opened?,
        };
        let projection_context = ProjectionContext {
            events: store.clone(),
            rows: Arc::clone(&rows),
            leases: Arc::clone(&database.leases),
        };
        let (name, mut projectors) = (node_name(env), Vec::new());
        for projection in projections::all() {
            // Nothing is read or written before it is known which of the tables is live.
            lifecycle::open(projection, &projection_context, "system", env.now()).await?;
            if mode == ProjectionMode::Enabled {
                projectors.push(start_projector(projection, &projection_context, env, &name));
            }
        }
        let proofs = Proofs::new(store.clone(), Arc::clone(&database.tiles));
        let webhooks = WebhookCommands::new(store.clone(), env.clone());
        let user_rows = UserQueries::new(store.clone(), Arc::clone(&rows));
        let deliveries = Arc::clone(&database.deliveries);
        let (commands, readers) = (webhooks.clone(), user_rows.clone());
        Ok(Self {
            users: UserCommands::new(store.clone(), env.clone()),
            delivery_context: DeliveryContext::new(
                store.clone(),
                commands,
                readers,
                Arc::clone(&deliveries),
                env.clone(),
            ),
            webhooks,
            user_rows,
            webhook_rows: WebhookQueries::new(store.clone(), Arc::clone(&rows)),
            deliveries,
            dispatcher: None,
            stats: StatsQueries::new(store.clone(), rows),
            tile_builder: (mode == ProjectionMode::Enabled).then(|| spawn_tile_builder(&proofs)),
            history: HistoryQueries::new(store.clone()),
            proofs,
            store,
            projection_context,
            projectors,
        })
    }

    /// Starts to deliver webhooks whenever no other node does.
    fn start_dispatcher(&mut self, sender: &WebhookSender, env: &Env) {
        let dispatcher = Dispatcher {
            context: self.delivery_context.clone(),
            sender: sender.clone(),
            rows: self.webhook_rows.clone(),
            leases: Arc::clone(&self.projection_context.leases),
            holder: node_name(env),
            is_dead_node,
        };
        self.dispatcher = Some(dispatcher.start());
    }

    /// The projectors of this node; none if it does not project.
    #[must_use]
    pub fn projectors(&self) -> &[ProjectionHandle] {
        &self.projectors
    }

    /// Finishes the writes that were handed over, and gives the leases back. Later writes are refused.
    pub async fn close(&self) {
        if let Some(dispatcher) = &self.dispatcher {
            dispatcher.stop().await;
        }
        for projector in &self.projectors {
            projector.stop().await;
        }
        if let Some(tile_builder) = &self.tile_builder {
            tile_builder.abort();
        }
        self.store.close().await;
    }
}

/// Says also how many people cannot be read without the key, if that can be found out soon.
async fn missing_key_error(
    what: String,
    database: &Database,
    masters: &MasterKeySetting,
    env: &Env,
) -> StoreError {
    let rotation = Rotation::new(Arc::clone(&database.keys), Arc::new(masters.keys()), env.clone());
    let Ok(Ok(usage)) = timeout(KEY_SURVEY_TIMEOUT, rotation.master_key_usage()).await else {
        return StoreError::KeyMissing(what);
    };
    let missing = usage.wraps.iter().filter(|(id, _)| masters.source(**id).is_none());
    let missing = missing.map(|(id, wraps)| format!(" Master key {id} wraps {wraps}."));
    StoreError::KeyMissing(what + &missing.collect::<String>())
}

/// Starts to make tiles as the log grows.
fn spawn_tile_builder(proofs: &Proofs) -> AbortOnDropHandle<()> {
    let proofs = proofs.clone();
    AbortOnDropHandle::new(tokio::spawn(async move { proofs.maintain_tiles().await }))
}

/// Starts to keep a read model whenever no other node does, as the node of this name.
#[must_use]
pub fn start_projector(
    projection: &'static dyn Projection,
    projection_context: &ProjectionContext,
    env: &Env,
    name: &str,
) -> ProjectionHandle {
    ProjectionRunner::new(projection, projection_context.clone(), env.clone(), name)
        .with_dead_holder_check(is_dead_node)
        .start()
}

/// Whether a node keeps the read models up to date itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionMode {
    /// It does.
    Enabled,
    /// It relies on another node.
    Disabled,
}

/// The service: what works at once, and what works once the database has been reached.
pub struct App {
    /// The settings.
    pub settings: Settings,
    /// Time and chance.
    pub env: Env,
    /// Hashes and checks passwords.
    pub hashing: HashingPool,
    /// Issues and checks access tokens.
    pub tokens: Tokens,
    /// Sends to webhooks.
    pub sender: WebhookSender,
    services: OnceLock<Services>,
    /// Why the database cannot be used yet, for people to read.
    startup_error: std::sync::Mutex<Option<String>>,
}

impl App {
    /// The service without its database.
    ///
    /// # Errors
    /// [`PasswordHashError`] if the costs of password hashing are out of range.
    pub fn new(settings: Settings, env: Env) -> Result<Self, PasswordHashError> {
        Ok(Self {
            hashing: HashingPool::start(&settings.passwords, &env)?,
            tokens: Tokens::new(&settings.tokens, env.clone()),
            sender: WebhookSender::new(&settings.webhooks),
            settings,
            env,
            services: OnceLock::new(),
            startup_error: std::sync::Mutex::new(None),
        })
    }

    /// Connects to the database that the settings name, and opens it, trying again for as long as it is only out of
    /// reach. Requests do not see it before [`App::publish`].
    ///
    /// # Errors
    /// [`StoreError::Refused`], [`StoreError::KeyMissing`] or [`StoreError::Corrupt`] if it is not one that this service may use.
    pub async fn connect(&self, mode: ProjectionMode) -> Result<Services, StoreError> {
        let database = self.retry_while_unavailable(|| Database::connect(&self.settings.database)).await?;
        self.open(&database, mode).await
    }

    /// Opens a database, trying again for as long as it is only out of reach.
    ///
    /// # Errors
    /// As [`App::connect`].
    pub async fn open(&self, database: &Database, mode: ProjectionMode) -> Result<Services, StoreError> {
        // Boxed: it is large, and so would be every future around it.
        let mut services = self
            .retry_while_unavailable(|| {
                Box::pin(Services::open(database, &self.settings.master_key, &self.env, mode))
            })
            .await?;
        if mode == ProjectionMode::Enabled {
            services.start_dispatcher(&self.sender, &self.env);
        }
        Ok(services)
    }

    /// Lets requests use the node: from here on the service is ready.
    pub fn publish(&self, services: Services) -> &Services {
        self.set_startup_error(None);
        self.services.get_or_init(|| services)
    }

    /// Finishes the writes that were handed over; later ones are refused. For when nobody is served any more.
    pub async fn close(&self) {
        if let Some(services) = self.services.get() {
            services.close().await;
        }
    }

    /// Tries until it is done, or fails for another reason than that the database is out of reach.
    async fn retry_while_unavailable<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut warned = false;
        loop {
            match attempt().await {
                Err(error) if error.is_transient() => {
                    if !warned {
                        tracing::warn!(%error, "starting without the database; trying on until it answers");
                        warned = true;
                    }
                    self.set_startup_error(Some(error.to_string()));
                    tokio::time::sleep(CONNECT_RETRY_INTERVAL).await;
                }
                done => {
                    if warned && done.is_ok() {
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
    pub fn services(&self) -> Result<&Services, StoreError> {
        self.services.get().ok_or_else(|| {
            let startup_error =
                self.startup_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            StoreError::Unavailable {
                what: startup_error.unwrap_or_else(|| "it is being opened".to_owned()),
                source: None,
            }
        })
    }

    fn set_startup_error(&self, startup_error: Option<String>) {
        *self.startup_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = startup_error;
    }
}
