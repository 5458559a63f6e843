//! The services over an open database: the event store, commands, queries, and the background tasks of this
//! node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{UserId, WebhookId};
use projections::{Projection, ProjectionContext, ProjectionHandle, ProjectionRunner, Webhooks, lifecycle};
use store::tiles::Proofs;
use store::{DeliveryStore, Env, EventStore, MissingKey, Rotation, Sessions, StoreError};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::database::Database;
use super::node_name::{is_dead_node, node_name};
use super::token_key_store::TokenKeyStore;
use crate::command::{LoginCommands, TokenCommands, UserCommands, WebhookCommands, WebhookIndex};
use crate::config::MasterKeySetting;
use crate::crypto::Tokens;
use crate::leader_job::{self, Candidacy, LeaderJobHandle};
use crate::mail::MailService;
use crate::query::{HistoryQueries, LoginQueries, StatsQueries, UserQueries, WebhookQueries};
use crate::webhooks::dispatcher::Dispatcher;
use crate::webhooks::{DeliveryContext, WebhookSender};

/// How long a failing start may take to count the data keys that need the missing master key.
const KEY_SURVEY_TIMEOUT: Duration = Duration::from_secs(3);

/// How many users a node keeps in memory, for requests with their tokens: about 1 KB each.
const CACHED_USERS: usize = 10_000;

/// Whether this node applies events to the read models itself, or relies on another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionMode {
    Enabled,
    Disabled,
}

/// For how long no node has held the lease of the projector, as seen by readiness probes.
#[derive(Debug, Default)]
pub(crate) struct ProjectorWatch(Mutex<Option<Instant>>);

impl ProjectorWatch {
    /// The time since the first of the latest probes in a row that found no holder; zero if there is one now.
    pub(crate) fn observe(&self, is_held: bool) -> Duration {
        let mut unheld_since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_held {
            *unheld_since = None;
            return Duration::ZERO;
        }
        unheld_since.get_or_insert_with(Instant::now).elapsed()
    }
}

/// What is available once the database has been opened.
pub struct Services {
    pub store: EventStore,
    pub projection_context: ProjectionContext,
    pub users: UserCommands,
    pub logins: LoginCommands,
    pub tokens: Arc<TokenCommands>,
    pub user_rows: UserQueries,
    pub webhooks: WebhookCommands,
    pub webhook_rows: WebhookQueries,
    pub deliveries: Arc<dyn DeliveryStore>,
    pub delivery_context: DeliveryContext,
    pub stats: StatsQueries,
    pub history: HistoryQueries,
    pub login_history: LoginQueries,
    pub sessions: Sessions,
    /// Inclusion and consistency proofs.
    pub proofs: Proofs,
    /// The keys of access tokens, if the service makes them.
    pub token_keys: Option<Arc<TokenKeyStore>>,
    projector: Option<ProjectionHandle>,
    projector_watch: ProjectorWatch,
    tile_builder: Option<AbortOnDropHandle<()>>,
    dispatcher: Option<LeaderJobHandle>,
    mailer: Option<LeaderJobHandle>,
}

impl Services {
    /// Opens the log and the read models, and starts the projectors if they are enabled.
    ///
    /// # Errors
    /// [`StoreError`] if the database is unreachable, or not one that this service may use.
    pub async fn open(
        database: &Database,
        master_key: &MasterKeySetting,
        env: &Env,
        mode: ProjectionMode,
    ) -> Result<Self, StoreError> {
        let log = Arc::clone(&database.log);
        let store = match EventStore::open(log, master_key.keyring(), env.clone()).await {
            Err(StoreError::KeyMissing(missing)) => {
                return Err(Box::pin(missing_key_error(missing, database, master_key, env)).await);
            }
            opened => opened?,
        };
        let rows = store.authenticate_rows(Arc::clone(&database.rows));
        let projection_context = ProjectionContext {
            events: store.clone(),
            rows: Arc::clone(&rows),
            leases: Arc::clone(&database.leases),
        };
        for projection in projections::all() {
            // Finds out which version is live: no row is read or written before.
            lifecycle::open(projection, &projection_context, "system", env.now()).await?;
        }
        let is_enabled = mode == ProjectionMode::Enabled;
        let projector = is_enabled.then(|| start_projector(&projection_context, env, &node_name(env)));
        let proofs = Proofs::new(store.clone(), Arc::clone(&database.tiles));
        let webhook_rows = WebhookQueries::new(store.clone(), Arc::clone(&rows));
        let index: Arc<dyn WebhookIndex> = Arc::new(WebhookRowIndex(webhook_rows.clone()));
        let webhooks = WebhookCommands::new(store.clone(), env.clone()).with_index(Arc::clone(&index));
        let user_rows = UserQueries::new(store.clone(), Arc::clone(&rows)).with_cache(if is_enabled {
            CACHED_USERS
        } else {
            0
        });
        let deliveries = authenticated_deliveries(&store, database);
        let sessions = Sessions::new(store.clone(), Arc::clone(&database.sessions));
        let (commands, readers) = (webhooks.clone(), user_rows.clone());
        let opened = Self {
            users: UserCommands::new(store.clone(), env.clone())
                .with_index(index)
                .with_sessions(sessions.clone()),
            logins: LoginCommands::new(store.clone(), env.clone()),
            tokens: Arc::new(TokenCommands::new(store.clone(), env.clone())),
            delivery_context: DeliveryContext::new(
                store.clone(),
                commands,
                readers,
                webhook_rows.clone(),
                Arc::clone(&deliveries),
                env.clone(),
            ),
            webhooks,
            user_rows,
            deliveries,
            dispatcher: None,
            mailer: None,
            token_keys: None,
            stats: StatsQueries::new(store.clone(), rows),
            history: HistoryQueries::new(store.clone(), webhook_rows.clone(), sessions.clone()),
            sessions,
            tile_builder: is_enabled.then(|| spawn_tile_builder(&proofs)),
            login_history: LoginQueries::new(store.clone()),
            webhook_rows,
            proofs,
            store,
            projection_context,
            projector,
            projector_watch: ProjectorWatch::default(),
        };
        if is_upgrading(&opened.store) {
            opened.delivery_context.sign_cursors().await?;
        }
        Ok(opened)
    }

    /// Starts webhook delivery under leader election: each node that holds one of its leases delivers a
    /// share of the webhooks.
    pub(super) fn start_dispatcher(&mut self, sender: &WebhookSender, env: &Env) {
        let candidacy = self.candidacy(env);
        let dispatcher = Dispatcher {
            leases: Arc::clone(&candidacy.leases),
            context: self.delivery_context.clone(),
            sender: sender.clone(),
        };
        self.dispatcher = Some(leader_job::start(dispatcher, &candidacy));
    }

    /// Starts sending mails under leader election.
    pub(super) fn start_mailer(&mut self, mail: &MailService, tokens: &Arc<Tokens>, env: &Env) {
        let (store, deliveries) = (self.store.clone(), Arc::clone(&self.deliveries));
        let mailer = mail.mailer(store, deliveries, Arc::clone(tokens), env.clone());
        self.mailer = Some(leader_job::start(mailer, &self.candidacy(env)));
    }

    /// With which this node competes for leases.
    fn candidacy(&self, env: &Env) -> Candidacy {
        Candidacy {
            leases: Arc::clone(&self.projection_context.leases),
            holder: node_name(env),
            is_dead_node,
        }
    }

    /// The projector of this node; `None` with [`ProjectionMode::Disabled`].
    #[must_use]
    pub fn projector(&self) -> Option<&ProjectionHandle> {
        self.projector.as_ref()
    }

    pub(crate) fn projector_watch(&self) -> &ProjectorWatch {
        &self.projector_watch
    }

    /// Stops the background tasks, releases their leases and finishes the queued appends. Later appends are
    /// refused.
    pub async fn close(&self) {
        let stop_job = async |job: &Option<LeaderJobHandle>| {
            if let Some(job) = job {
                job.stop().await;
            }
        };
        tokio::join!(stop_job(&self.dispatcher), stop_job(&self.mailer));
        if let Some(projector) = &self.projector {
            projector.stop().await;
        }
        if let Some(task) = &self.tile_builder {
            task.abort();
        }
        self.store.close().await;
    }
}

/// The delivery cursors, authenticated.
fn authenticated_deliveries(store: &EventStore, database: &Database) -> Arc<dyn DeliveryStore> {
    let progress = store.clone();
    let accepts_unsigned = Arc::new(move || is_upgrading(&progress));
    store.authenticate_deliveries(Arc::clone(&database.deliveries), accepts_unsigned)
}

/// Whether the live rows are still those of a release without row authentication, which did not authenticate
/// delivery cursors either.
fn is_upgrading(store: &EventStore) -> bool {
    let webhooks: &'static dyn Projection = &Webhooks;
    let live = webhooks.live_table(store.progress().versions.get(webhooks.name()).map(AsRef::as_ref));
    !live.schema.is_authenticated()
}

/// Finds webhooks in the rows of the read model `webhooks`.
struct WebhookRowIndex(WebhookQueries);

#[async_trait]
impl WebhookIndex for WebhookRowIndex {
    async fn webhooks_of(&self, owner: UserId) -> Vec<WebhookId> {
        self.0.known_of(owner).await
    }
}

/// Starts the projector under leader election: it applies events to all read models while this node holds the
/// lease.
#[must_use]
pub fn start_projector(context: &ProjectionContext, env: &Env, node_name: &str) -> ProjectionHandle {
    ProjectionRunner::new(&projections::all(), context.clone(), env.clone(), node_name)
        .with_dead_holder_check(is_dead_node)
        .start()
}

/// Maintains the tiles of the Merkle tree as the log grows.
fn spawn_tile_builder(proofs: &Proofs) -> AbortOnDropHandle<()> {
    let proofs = proofs.clone();
    AbortOnDropHandle::new(tokio::spawn(async move { proofs.maintain_tiles().await }))
}

/// Adds how many data keys each missing master key wraps, if that can be counted in time.
async fn missing_key_error(
    missing: MissingKey,
    database: &Database,
    masters: &MasterKeySetting,
    env: &Env,
) -> StoreError {
    let rotation = Rotation::new(Arc::clone(&database.keys), Arc::new(masters.keys()), env.clone());
    let Ok(Ok(usage)) = timeout(KEY_SURVEY_TIMEOUT, rotation.master_key_usage()).await else {
        return missing.into();
    };
    let not_given = usage.wraps.iter().filter(|(id, _)| masters.source(**id).is_none());
    let usage = not_given.map(|(id, wrapped)| (*id, wrapped.to_string())).collect();
    missing.with_usage(usage).into()
}
