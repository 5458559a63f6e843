//! Commands to webhooks.

use std::sync::Arc;

use domain::webhook::{decide, evolve};
use domain::{Webhook, WebhookCommand, WebhookEvent, WebhookId, WebhookSecret};
use store::{Appended, Corruption, Env, EventStore, RecordedResult, StoreError};
use tokio::sync::Notify;

use super::executor::{Decider, Decision, Loaded, execute};
use super::owned_webhooks::{NoIndex, WebhookIndex};
use super::webhook_registration::{NewWebhook, Registration};
use super::webhook_state::{WebhookState, complete, load_webhook, state};
use super::{Aggregate, CommandContext, CommandError};

/// Executes commands to webhooks.
#[derive(Clone)]
pub struct WebhookCommands {
    store: EventStore,
    env: Env,
    index: Arc<dyn WebhookIndex>,
    registrations: Arc<Notify>,
}

impl WebhookCommands {
    #[must_use]
    pub fn new(store: EventStore, env: Env) -> Self {
        Self { store, env, index: Arc::new(NoIndex), registrations: Arc::default() }
    }

    /// Finds webhooks without a slot in this index.
    #[must_use]
    pub fn with_index(self, index: Arc<dyn WebhookIndex>) -> Self {
        Self { index, ..self }
    }

    /// Registers a webhook under a new id and with a new secret.
    ///
    /// # Errors
    /// [`domain::WebhookRejection::TooMany`] if the owner has no free slot, [`store::AppendError::Erased`] if the owner
    /// was erased.
    pub async fn register(
        &self,
        context: &CommandContext,
        new: NewWebhook,
    ) -> Result<WebhookState, CommandError> {
        let (id, secret) = (WebhookId::from_uuid(self.env.uuid()), self.new_secret());
        let decider = Registration { id, new, secret, index: Arc::clone(&self.index) };
        let registered = execute(&self.store, &self.env, context, &decider).await?;
        self.registrations.notify_one();
        Ok(registered)
    }

    /// Notified of each registration by this process.
    #[must_use]
    pub fn registrations(&self) -> &Notify {
        &self.registrations
    }

    /// Executes a command to an existing webhook.
    ///
    /// # Errors
    /// [`domain::WebhookRejection::Unknown`] if it does not exist or was deleted.
    pub async fn execute(
        &self,
        context: &CommandContext,
        id: WebhookId,
        command: &WebhookCommand,
    ) -> Result<WebhookState, CommandError> {
        let decider = WebhookDecider { id, command: command.clone() };
        execute(&self.store, &self.env, context, &decider).await
    }

    /// The current webhook according to the log, deleted or not.
    ///
    /// # Errors
    /// [`domain::WebhookRejection::Unknown`] if it never existed.
    pub async fn state(&self, id: WebhookId) -> Result<WebhookState, CommandError> {
        state(id, load_webhook(&self.store, id, u64::MAX).await?, self.env.now())
    }

    /// The webhook right after an earlier command, for the replayed response to an idempotency key.
    ///
    /// # Errors
    /// [`CommandError`] if the stream cannot be read.
    pub async fn state_after(&self, first: &RecordedResult) -> Result<WebhookState, CommandError> {
        let id = WebhookId::from_stream(first.stream.as_str()).ok_or_else(|| {
            StoreError::from(Corruption::missing(format!(
                "{}, recorded under an idempotency key,",
                first.stream
            )))
        })?;
        let loaded = load_webhook(&self.store, id, first.version).await?;
        Ok(WebhookState { position: Some(first.position), ..state(id, loaded, self.env.now())? })
    }

    /// A new random secret.
    #[must_use]
    pub fn new_secret(&self) -> WebhookSecret {
        WebhookSecret::new(self.env.bytes())
    }
}

struct WebhookDecider {
    id: WebhookId,
    command: WebhookCommand,
}

impl Decider for WebhookDecider {
    type State = Loaded<Webhook>;
    type Output = WebhookState;

    fn aggregate(&self) -> Aggregate {
        Aggregate::Webhook(self.id)
    }

    fn command(&self) -> &'static str {
        match self.command {
            WebhookCommand::Register { .. } => "register_webhook",
            WebhookCommand::RotateSecret { .. } => "rotate_secret",
            WebhookCommand::Suspend { .. } => "suspend",
            WebhookCommand::Resume { .. } => "resume",
            WebhookCommand::Replay { .. } => "replay",
            WebhookCommand::CancelReplays { .. } => "cancel_replays",
            WebhookCommand::Delete => "delete",
        }
    }

    async fn load(&self, store: &EventStore) -> Result<Loaded<Webhook>, CommandError> {
        match load_webhook(store, self.id, u64::MAX).await? {
            (_, Some(unreadable)) if self.command != WebhookCommand::Delete => Err(unreadable.into()),
            (loaded, _) => Ok(loaded),
        }
    }

    fn version(&self, loaded: &Loaded<Webhook>) -> Option<u64> {
        matches!(loaded.state, Webhook::Present(_)).then_some(loaded.version)
    }

    fn decide(&self, loaded: Loaded<Webhook>, env: &Env) -> Result<Decision<WebhookState>, CommandError> {
        let events = decide(&loaded.state, self.command.clone())?;
        let mut writes = Vec::new();
        if !events.is_empty() {
            let encoded = events.iter().map(WebhookEvent::encode);
            let mut write = event_codec::stream_write(env, &self.id.stream(), loaded.version, encoded)?;
            write.erase = events.iter().any(WebhookEvent::erases);
            writes.push(write);
        }
        let after = Loaded { state: events.iter().fold(loaded.state, evolve), ..loaded };
        Ok(Decision { writes, guards: Vec::new(), output: state(self.id, (after, None), env.now())? })
    }

    fn complete(output: &mut WebhookState, appended: &Appended) {
        complete(output, appended);
    }
}
