//! Commands to webhooks.

use domain::webhook::{decide, evolve};
use domain::{
    ActiveWebhook, Reason, UserId, Webhook, WebhookCommand, WebhookEvent, WebhookId, WebhookRejection,
    WebhookSecret, WebhookUrl,
};
use jiff::Timestamp;
use projections::decode;
use store::{Append, AppendError, Env, EventStore, Position, RecordedResult, StoreError};

use super::loaded::stream_id;
use super::writing::stream_write;
use super::{ATTEMPTS, CommandContext, CommandError};

/// Carries out commands to webhooks.
#[derive(Clone)]
pub struct WebhookCommands {
    store: EventStore,
    env: Env,
}

/// What a new webhook is to be.
#[derive(Clone)]
pub struct NewWebhook {
    /// Whose.
    pub owner: UserId,
    /// Where events are sent.
    pub url: WebhookUrl,
    /// Which; all if it is empty.
    pub types: Vec<String>,
    /// What it is for.
    pub description: Option<Reason>,
    /// The position after which it begins.
    pub after: u64,
}

/// A webhook as its events leave it, read from the log itself.
#[derive(Clone, Debug)]
pub struct WebhookState {
    /// The webhook.
    pub id: WebhookId,
    /// Whose it is, or was.
    pub owner: UserId,
    /// What it is; none once it was deleted.
    pub webhook: Option<ActiveWebhook>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The version of its stream.
    pub version: u64,
    /// The position of the last event that the command appended; `None` if it changed nothing.
    pub position: Option<Position>,
}

impl WebhookCommands {
    /// Commands that append to this store.
    #[must_use]
    pub fn new(store: EventStore, env: Env) -> Self {
        Self { store, env }
    }

    /// Registers a webhook under a new id and with a new secret.
    ///
    /// # Errors
    /// [`CommandError`] if it cannot be appended.
    pub async fn register(
        &self,
        context: &CommandContext,
        new: NewWebhook,
    ) -> Result<WebhookState, CommandError> {
        let NewWebhook { owner, url, types, description, after } = new;
        let command =
            WebhookCommand::Register { owner, url, secret: self.new_secret(), types, description, after };
        let id = WebhookId::from_uuid(self.env.uuid());
        self.decide_and_append(context, id, &Loaded::default(), command).await
    }

    /// Carries out a command to an existing webhook.
    ///
    /// # Errors
    /// [`WebhookRejection::Unknown`] if there is none, or no longer.
    pub async fn execute(
        &self,
        context: &CommandContext,
        id: WebhookId,
        command: &WebhookCommand,
    ) -> Result<WebhookState, CommandError> {
        for _ in 0..ATTEMPTS {
            let loaded = self.load(id, u64::MAX).await?;
            match self.decide_and_append(context, id, &loaded, command.clone()).await {
                Err(CommandError::Append(AppendError::Conflict { .. })) => {}
                done => return done,
            }
        }
        Err(CommandError::Contended)
    }

    /// A webhook as the log has it now, deleted or not.
    ///
    /// # Errors
    /// [`WebhookRejection::Unknown`] if there never was one.
    pub async fn state(&self, id: WebhookId) -> Result<WebhookState, CommandError> {
        self.load(id, u64::MAX).await?.state(id, self.env.now())
    }

    /// A webhook as an earlier command left it.
    ///
    /// # Errors
    /// [`CommandError`] if the history cannot be read.
    pub async fn state_after(&self, first: &RecordedResult) -> Result<WebhookState, CommandError> {
        let id = WebhookId::from_stream(first.stream.as_str()).ok_or_else(|| {
            StoreError::corrupt(format!("{} is not in the log as its first result says", first.stream))
        })?;
        let state = self.load(id, first.version).await?.state(id, self.env.now())?;
        Ok(WebhookState { position: Some(first.position), ..state })
    }

    /// A secret that nobody can guess.
    #[must_use]
    pub fn new_secret(&self) -> WebhookSecret {
        WebhookSecret::new(self.env.bytes())
    }

    async fn load(&self, id: WebhookId, version: u64) -> Result<Loaded, CommandError> {
        let events = self.store.read_stream(&stream_id(&id.stream())?).await?;
        let mut loaded = Loaded::default();
        for event in events.iter().take_while(|event| event.envelope.version <= version) {
            loaded.webhook = evolve(loaded.webhook, &decode::webhook_event(event)?);
            loaded.version = event.envelope.version;
            loaded.first.get_or_insert(event.envelope.at);
        }
        Ok(loaded)
    }

    async fn decide_and_append(
        &self,
        context: &CommandContext,
        id: WebhookId,
        loaded: &Loaded,
        command: WebhookCommand,
    ) -> Result<WebhookState, CommandError> {
        let events = decide(&loaded.webhook, command)?;
        let after = Loaded { webhook: events.iter().fold(loaded.webhook.clone(), evolve), ..loaded.clone() };
        if events.is_empty() {
            return after.state(id, self.env.now());
        }
        let encoded = events.iter().map(WebhookEvent::encode);
        let mut write = stream_write(&self.env, &id.stream(), loaded.version, encoded)?;
        write.erase = events.iter().any(WebhookEvent::erases);
        let CommandContext { actor, request_id, idempotency } = context.clone();
        let append = Append { actor, request_id, writes: vec![write], idempotency };
        let appended = self.store.append(&append).await?;
        let version = appended.versions.first().copied().unwrap_or(loaded.version);
        let state = after.state(id, appended.at)?;
        Ok(WebhookState { version, position: Some(appended.position), ..state })
    }
}

/// A webhook's stream, folded.
#[derive(Clone, Default)]
struct Loaded {
    webhook: Webhook,
    version: u64,
    /// When the first event was appended.
    first: Option<Timestamp>,
}

impl Loaded {
    /// `now` is when it was registered, if it is about to be.
    fn state(self, id: WebhookId, now: Timestamp) -> Result<WebhookState, CommandError> {
        let (owner, webhook) = match self.webhook {
            Webhook::Present(webhook) => (webhook.owner, Some(*webhook)),
            Webhook::Deleted { owner } => (owner, None),
            Webhook::Absent => return Err(WebhookRejection::Unknown.into()),
        };
        let created_at = self.first.unwrap_or(now);
        Ok(WebhookState { id, owner, webhook, created_at, version: self.version, position: None })
    }
}
