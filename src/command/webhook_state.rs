//! A webhook folded from its event stream, as commands load and answer it.

use domain::webhook::evolve;
use domain::{ActiveWebhook, UserId, Webhook, WebhookId, WebhookRejection};
use jiff::Timestamp;
use store::{Appended, EventStore, Position};

use super::CommandError;
use super::executor::{Loaded, load};

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
}

/// Completes the state with what only the append knows.
pub(super) fn complete(output: &mut WebhookState, appended: &Appended) {
    if output.version == 0 {
        output.created_at = appended.at;
    }
    output.version = appended.versions.first().copied().unwrap_or(output.version);
    output.position = Some(appended.position);
}

pub(super) async fn load_webhook(
    store: &EventStore,
    id: WebhookId,
    max_version: u64,
) -> Result<Loaded<Webhook>, CommandError> {
    load(store, &id.stream(), max_version, |webhook, event| {
        Ok(evolve(webhook, &event_codec::decode_webhook_event(event)?))
    })
    .await
}

/// `now` is the registration time of a webhook that is not appended yet.
pub(super) fn state(
    id: WebhookId,
    loaded: Loaded<Webhook>,
    now: Timestamp,
) -> Result<WebhookState, CommandError> {
    let (owner, webhook) = match loaded.state {
        Webhook::Present(webhook) => (webhook.owner, Some(*webhook)),
        Webhook::Deleted { owner } => (owner, None),
        Webhook::Absent => return Err(WebhookRejection::Unknown.into()),
    };
    let created_at = loaded.first_event_at.unwrap_or(now);
    Ok(WebhookState { id, owner, webhook, created_at, version: loaded.version, position: None })
}
