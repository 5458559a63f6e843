//! The composition root: from settings to the services that requests use. An [`App`] exists, and answers
//! health checks, before its database is reachable.

mod claim_backfill;
mod database;
mod hash_survey;
mod legacy_users;
mod node_name;
mod services;
mod session_purge;
mod token_key_store;
mod unlock_watch;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use store::{Env, StoreError};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::config::Settings;
use crate::crypto::{HashingPool, MailPurpose, PasswordHashError, Tokens};
use crate::limits::Limits;
use crate::logins::LoginRecorder;
use crate::mail::{MailService, MailSetupError};
use crate::webhooks::{WebhookLimits, WebhookSender};

pub use database::{Database, LegacyDocument, LegacyUsers};
pub use node_name::{is_dead_node, node_name};
pub use services::{ProjectionMode, Services, start_projector};
pub use token_key_store::{TokenKeyStore, rotate_token_keys, stored_token_keys, token_key_entry};
pub(crate) use unlock_watch::watch_unlocks;

/// The pause between two attempts to reach the database at startup.
const CONNECT_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The application: what works without the database, and the services once it has been opened.
pub struct App {
    pub settings: Settings,
    /// Clock and randomness.
    pub env: Env,
    pub hashing: HashingPool,
    pub tokens: Arc<Tokens>,
    pub limits: Limits,
    pub(crate) logins: Arc<LoginRecorder>,
    pub sender: WebhookSender,
    pub mail: MailService,
    pub webhook_limits: WebhookLimits,
    services: OnceLock<Services>,
    /// Work that no answer waits for.
    tasks: Mutex<JoinSet<()>>,
    /// Why the database is not open yet, for the readiness check.
    startup_error: Mutex<Option<String>>,
}

/// Why the settings cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    PasswordHash(#[from] PasswordHashError),
    #[error(transparent)]
    Mail(#[from] MailSetupError),
}

/// Why there are no services yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    #[error("the service is starting: its database is being opened")]
    Opening,
    #[error("the database cannot be opened: {0}")]
    Unavailable(String),
}

impl App {
    /// An application without its database.
    ///
    /// # Errors
    /// [`AppError`] if the costs of password hashing are out of range, or mails cannot be sent as the settings say.
    pub fn new(settings: Settings, env: Env) -> Result<Self, AppError> {
        Ok(Self {
            mail: MailService::new(&settings.mail, &settings.http.project_name)?,
            hashing: HashingPool::start(&settings.passwords, &env)?,
            tokens: Arc::new(Tokens::new(&settings.tokens, env.clone())),
            sender: WebhookSender::new(&settings.webhooks),
            limits: Limits::new(settings.rate_limits, &env),
            logins: Arc::new(LoginRecorder::new(settings.login_events, &env)),
            webhook_limits: WebhookLimits::new(settings.rate_limits, &env),
            settings,
            env,
            services: OnceLock::new(),
            tasks: Mutex::default(),
            startup_error: Mutex::new(None),
        })
    }

    /// Connects to the database of the settings and opens it, retrying while it is unreachable. Requests do
    /// not use it before [`App::publish`].
    ///
    /// # Errors
    /// [`StoreError::Refused`], [`StoreError::KeyMissing`] or [`StoreError::Corrupt`] if this service may not
    /// use it.
    pub async fn connect(&self, mode: ProjectionMode) -> Result<Services, StoreError> {
        let database = self.retry_while_unavailable(|| Database::connect(&self.settings.database)).await?;
        let services = self.open(&database, mode).await?;
        legacy_users::warn_unless_imported(&database, &self.settings.database, &services.store).await;
        Ok(services)
    }

    /// Opens a database, retrying while it is unreachable.
    ///
    /// # Errors
    /// As [`App::connect`].
    pub async fn open(&self, database: &Database, mode: ProjectionMode) -> Result<Services, StoreError> {
        // Boxed: the future is large, and so would be every future around it.
        let mut services = self
            .retry_while_unavailable(|| {
                Box::pin(Services::open(database, &self.settings.master_key, &self.env, mode))
            })
            .await?;
        if self.tokens.uses_keys() {
            let longest_token = self.settings.tokens.lifetime.max(self.settings.sessions.token_lifetime);
            let longest_token = longest_token.max(MailPurpose::LONGEST_LIFETIME);
            let keys = self
                .retry_while_unavailable(|| {
                    let entry = token_key_entry(database, &self.settings.master_key, &self.env);
                    TokenKeyStore::open(entry, Arc::clone(&self.tokens), longest_token, self.env.clone())
                })
                .await?;
            services.token_keys = Some(Arc::new(keys));
        }
        if mode == ProjectionMode::Enabled {
            services.start_dispatcher(&self.sender, &self.env);
            services.start_mailer(&self.mail, &self.tokens, &self.env);
        }
        Ok(services)
    }

    /// Makes the services available to requests: the application is ready.
    pub fn publish(&self, services: Services) -> &Services {
        self.set_startup_error(None);
        let services = self.services.get_or_init(|| services);
        let costs = self.hashing.costs_in_use();
        self.spawn(hash_survey::run(services.user_rows.clone(), services.store.clone(), Arc::clone(costs)));
        self.spawn(claim_backfill::run(services.store.clone()));
        self.spawn(session_purge::run(services.sessions.clone()));
        if let Some(keys) = &services.token_keys {
            self.spawn(Arc::clone(keys).poll());
        }
        let (logins, commands) = (Arc::clone(&self.logins), services.logins.clone());
        self.spawn(async move { logins.run(&commands).await });
        services
    }

    /// Runs work that no answer waits for. It is aborted when the application closes.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task.in_current_span());
    }

    /// Closes the services after the last request.
    pub async fn close(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if let Some(services) = self.services.get() {
            self.logins.flush(&services.logins).await;
            services.close().await;
        }
    }

    /// # Errors
    /// [`NotStarted`] while the database is not open.
    pub fn services(&self) -> Result<&Services, NotStarted> {
        self.services.get().ok_or_else(|| {
            let error = self.startup_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
            error.map_or(NotStarted::Opening, NotStarted::Unavailable)
        })
    }

    /// Repeats an attempt until it succeeds or fails permanently.
    async fn retry_while_unavailable<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut warned = false;
        loop {
            match attempt().await {
                Err(error) if error.is_transient() => {
                    if !warned {
                        let interval = CONNECT_RETRY_INTERVAL;
                        tracing::warn!(%error, ?interval, "database unreachable at startup; retrying");
                        warned = true;
                    }
                    self.set_startup_error(Some(error.to_string()));
                    tokio::time::sleep(CONNECT_RETRY_INTERVAL).await;
                }
                done => {
                    if warned && done.is_ok() {
                        tracing::info!("database reached");
                    }
                    return done;
                }
            }
        }
    }

    fn set_startup_error(&self, error: Option<String>) {
        *self.startup_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}
