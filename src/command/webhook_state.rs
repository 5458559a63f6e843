//! A webhook folded from its event stream, as commands load and answer it.

use domain::webhook::evolve;
use domain::{ActiveWebhook, UserId, Webhook, WebhookId, WebhookRejection};
use jiff::Timestamp;
use store::{Appended, Corruption, EventStore, PersonalData, Position, StoreError, StoredEvent, StreamId};

use super::CommandError;
use super::executor::{Loaded, fold, load};

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

/// Completes the state with what only the append knows.
pub(super) fn complete(output: &mut WebhookState, appended: &Appended) {
    if output.version == 0 {
        output.created_at = appended.at;
    }
    output.version = appended.versions.first().copied().unwrap_or(output.version);
    output.position = Some(appended.position);
}

/// Folds the stream of a webhook. If it cannot be decrypted or decoded, what is damaged is missing, and the error
/// says why: the webhook can still be listed and deleted.
pub(super) async fn load_webhook(
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
pub(super) fn state(
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
