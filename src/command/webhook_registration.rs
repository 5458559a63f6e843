//! The registration of a webhook. The limit per user and the existence of the owner hold at the commit: the
//! webhook takes a free slot of its owner as a unique claim, and the owner must not be erased.

use std::sync::Arc;

use domain::webhook::{decide, evolve};
use domain::{
    BatchSize, Reason, UserId, Webhook, WebhookCommand, WebhookEvent, WebhookId, WebhookSecret, WebhookSlot,
    WebhookUrl,
};
use store::{AppendError, Appended, Env, EventStore, Guard, StreamId};

use super::executor::{Decider, Decision, Loaded};
use super::owned_webhooks::{OwnedWebhooks, WebhookIndex, load_owned};
use super::webhook_state::{WebhookState, complete, state};
use super::{Aggregate, CommandError};

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
    /// The largest number of events in one delivery; `None`: each event is delivered by itself.
    pub batch: Option<BatchSize>,
}

/// The registration under a new id.
pub(super) struct Registration {
    pub(super) id: WebhookId,
    pub(super) new: NewWebhook,
    pub(super) secret: WebhookSecret,
    pub(super) index: Arc<dyn WebhookIndex>,
}

impl Decider for Registration {
    type State = OwnedWebhooks;
    type Output = WebhookState;

    fn aggregate(&self) -> Aggregate {
        Aggregate::Webhook(self.id)
    }

    fn command(&self) -> &'static str {
        "register_webhook"
    }

    async fn load(&self, store: &EventStore) -> Result<OwnedWebhooks, CommandError> {
        load_owned(store, &self.index, self.new.owner).await
    }

    fn decide(&self, owned: OwnedWebhooks, env: &Env) -> Result<Decision<WebhookState>, CommandError> {
        let NewWebhook { owner, url, types, description, after, batch } = self.new.clone();
        let slot = WebhookSlot::select(&owned.free, u32::from_be_bytes(env.bytes()));
        let secret = self.secret.clone();
        let command = WebhookCommand::Register { owner, url, secret, types, description, after, batch, slot };
        let events = decide(&Webhook::Absent, command)?;
        let encoded = events.iter().map(WebhookEvent::encode);
        let mut write = event_codec::stream_write(env, &self.id.stream(), 0, encoded)?;
        write.take = events.iter().filter_map(event_codec::slot_claim_taken).collect();
        let registered = Loaded { state: events.iter().fold(Webhook::Absent, evolve), ..Loaded::default() };
        Ok(Decision {
            writes: vec![write],
            guards: vec![Guard::NotErased(StreamId::from_trusted(owner.stream())?)],
            output: state(self.id, (registered, None), env.now())?,
        })
    }

    /// Another registration has taken the slot.
    fn is_outdated(&self, error: &AppendError) -> bool {
        matches!(error, AppendError::ClaimTaken { kind: WebhookSlot::CLAIM_KIND })
    }

    fn complete(output: &mut WebhookState, appended: &Appended) {
        complete(output, appended);
    }
}
