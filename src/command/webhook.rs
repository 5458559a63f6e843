//! Commands to webhooks.

use std::sync::Arc;

use domain::webhook::{decide, evolve};
use domain::{
    ActiveWebhook, Reason, UserId, Webhook, WebhookCommand, WebhookEvent, WebhookId, WebhookRejection,
    WebhookSecret, WebhookUrl,
};
use jiff::Timestamp;
use store::{
    Appended, Corruption, Env, EventStore, PersonalData, Position, RecordedResult, StoreError, StoredEvent,
    StreamId,
};
use tokio::sync::Notify;

use super::executor::{Decider, Decision, Loaded, execute, fold, load};
use super::{Aggregate, CommandContext, CommandError};

/// Executes commands to webhooks.
#[derive(Clone)]
pub struct WebhookCommands {
    store: EventStore,
    env: Env,
    registrations: Arc<Notify>,
}

/// A webhook to register.
#[derive(Clone)]
pub struct NewWebhook {
    pub owner: UserId,
    pub url: WebhookUrl,
    /// The event types to deliver; empty: all.
    pub types: Vec<String>,
    pub description: Option<Reason>,
    /// Delivery begins behind this position.
    pub after: u64,
}

/// A webhook folded from its event stream, independent of any read model.
#[derive(Clone, Debug)]
pub struct WebhookState {
    pub id: WebhookId,
    pub owner: UserId,
    /// `None` once it was deleted.
    pub webhook: Option<ActiveWebhook>,
    pub created_at: Timestamp,
    /// The version of the stream.
    pub version: u64,
    /// The position of the last event that the command appended; `None` if it changed nothing.
    pub position: Option<Position>,
    /// Why URL and secret cannot be decrypted, if they cannot although the webhook was not deleted.
    pub unreadable: Option<StoreError>,
}

impl WebhookCommands {
    #[must_use]
    pub fn new(store: EventStore, env: Env) -> Self {
        Self { store, env, registrations: Arc::default() }
    }

    /// Registers a webhook under a new id and with a new secret.
    ///
    /// # Errors
    /// [`CommandError`] if the event cannot be appended.
    pub async fn register(
        &self,
        context: &CommandContext,
        new: NewWebhook,
    ) -> Result<WebhookState, CommandError> {
        let NewWebhook { owner, url, types, description, after } = new;
        let command =
            WebhookCommand::Register { owner, url, secret: self.new_secret(), types, description, after };
        let id = WebhookId::from_uuid(self.env.uuid());
        let registered =
            execute(&self.store, &self.env, context, &WebhookDecider { id, is_new: true, command }).await?;
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
    /// [`WebhookRejection::Unknown`] if it does not exist or was deleted.
    pub async fn execute(
        &self,
        context: &CommandContext,
        id: WebhookId,
        command: &WebhookCommand,
    ) -> Result<WebhookState, CommandError> {
        let decider = WebhookDecider { id, is_new: false, command: command.clone() };
        execute(&self.store, &self.env, context, &decider).await
    }

    /// The current webhook according to the log, deleted or not.
    ///
    /// # Errors
    /// [`WebhookRejection::Unknown`] if it never existed.
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
    /// The id was drawn for this command: there is no stream to read.
    is_new: bool,
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
            WebhookCommand::Delete => "delete",
        }
    }

    async fn load(&self, store: &EventStore) -> Result<Loaded<Webhook>, CommandError> {
        if self.is_new {
            return Ok(Loaded::default());
        }
        match load_webhook(store, self.id, u64::MAX).await? {
            (_, Some(unreadable)) if self.command != WebhookCommand::Delete => Err(unreadable.into()),
            (loaded, _) => Ok(loaded),
        }
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
        Ok(Decision { writes, output: state(self.id, (after, None), env.now())? })
    }

    fn complete(output: &mut WebhookState, appended: &Appended) {
        if output.version == 0 {
            output.created_at = appended.at;
        }
        output.version = appended.versions.first().copied().unwrap_or(output.version);
        output.position = Some(appended.position);
    }
}

/// Folds the stream of a webhook. If it cannot be decrypted or decoded, what is damaged is missing, and the error
/// says why: the webhook can still be listed and deleted.
async fn load_webhook(
    store: &EventStore,
    id: WebhookId,
    max_version: u64,
) -> Result<(Loaded<Webhook>, Option<StoreError>), CommandError> {
    let apply =
        |webhook, event: &StoredEvent| Ok(evolve(webhook, &event_codec::decode_webhook_event(event)?));
    let error = match load(store, &id.stream(), max_version, apply).await {
        Err(CommandError::Store(error @ (StoreError::Corrupt(_) | StoreError::KeyMissing(_)))) => error,
        Err(CommandError::Decode(error)) => Corruption::invalid(format!("webhook {id}"), error).into(),
        loaded => return Ok((loaded?, None)),
    };
    let events = store.read_stream_sealed(&StreamId::from_trusted(id.stream())?).await?;
    let erased = |envelope| StoredEvent { envelope, personal: PersonalData::Erased };
    let events: Vec<_> = events.into_iter().map(erased).collect();
    let apply_known = |webhook, event: &StoredEvent| match event_codec::decode_webhook_event(event) {
        Ok(event) => Ok(evolve(webhook, &event)),
        Err(_) => Ok(webhook),
    };
    Ok((fold(&events, max_version, apply_known)?, Some(error)))
}

/// `now` is the registration time of a webhook that is not appended yet.
fn state(
    id: WebhookId,
    (loaded, unreadable): (Loaded<Webhook>, Option<StoreError>),
    now: Timestamp,
) -> Result<WebhookState, CommandError> {
    let (owner, webhook) = match loaded.state {
        Webhook::Present(webhook) => (webhook.owner, Some(*webhook)),
        Webhook::Deleted { owner } => (owner, None),
        Webhook::Absent => return Err(WebhookRejection::Unknown.into()),
    };
    let created_at = loaded.first_event_at.unwrap_or(now);
    Ok(WebhookState { id, owner, webhook, created_at, version: loaded.version, position: None, unreadable })
}
