//! The webhooks of a user, found by the unique claims of the user's slots: one indexed read, whatever the log
//! holds otherwise.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{UserId, Webhook, WebhookEvent, WebhookId, WebhookSlot};
use store::{Env, EventStore, ExpectedVersion, Guard, StoreError, StreamWrite};

use super::CommandError;
use super::webhook_state::load_webhook;

/// Finds the webhooks of a user in the read model. Webhooks that were registered before slots existed are found
/// only there.
#[async_trait]
pub trait WebhookIndex: Send + Sync {
    /// The webhooks of the user as far as the read model has them; nothing if it cannot be read.
    async fn webhooks_of(&self, owner: UserId) -> Vec<WebhookId>;
}

/// The default: finds nothing, so that only webhooks with a slot are known.
pub(super) struct NoIndex;

#[async_trait]
impl WebhookIndex for NoIndex {
    async fn webhooks_of(&self, _: UserId) -> Vec<WebhookId> {
        Vec::new()
    }
}

/// The webhooks of a user, and the slots that are left.
#[derive(Clone)]
pub(super) struct OwnedWebhooks {
    pub(super) ids: Vec<WebhookId>,
    /// Webhooks without a slot count as well.
    pub(super) free: Vec<WebhookSlot>,
}

/// Reads which webhooks a user owns.
pub(super) async fn load_owned(
    store: &EventStore,
    index: &Arc<dyn WebhookIndex>,
    owner: UserId,
) -> Result<OwnedWebhooks, CommandError> {
    let (slots, claims): (Vec<_>, Vec<_>) = event_codec::slot_claims(owner).unzip();
    let (mut ids, mut free) = (Vec::new(), Vec::new());
    for (slot, holder) in slots.into_iter().zip(store.claim_owners(&claims).await?) {
        match holder {
            None => free.push(slot),
            Some(stream) => ids.extend(WebhookId::from_stream(stream.as_str())),
        }
    }
    for id in index.webhooks_of(owner).await {
        // The read model may be behind: only the log says that a webhook still exists.
        if !ids.contains(&id) && is_present(store, id).await? {
            ids.push(id);
            free.pop();
        }
    }
    Ok(OwnedWebhooks { ids, free })
}

async fn is_present(store: &EventStore, id: WebhookId) -> Result<bool, CommandError> {
    Ok(matches!(load_webhook(store, id, u64::MAX).await?.0.state, Webhook::Present(_)))
}

/// Deletes and erases the webhooks with their owner. Their versions do not matter: whatever happened to them
/// before, they end here.
pub(super) fn erase_webhooks(env: &Env, ids: &[WebhookId]) -> Result<Vec<StreamWrite>, StoreError> {
    let erase = |id: &WebhookId| {
        let deleted = [WebhookEvent::WebhookDeleted.encode()];
        let write = event_codec::stream_write(env, &id.stream(), 0, deleted)?;
        Ok(StreamWrite { expected: ExpectedVersion::Any, erase: true, ..write })
    };
    ids.iter().map(erase).collect()
}

/// Guards of the erasure of a user: afterwards no webhook holds a slot of theirs. A registration that was
/// committed meanwhile makes the erasure be decided again.
pub(super) fn no_webhook_left(owner: UserId) -> impl Iterator<Item = Guard> {
    event_codec::slot_claims(owner).map(|(_, claim)| Guard::Unclaimed(claim))
}
