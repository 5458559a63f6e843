//! The status of a webhook: its definition and its delivery progress, for the API and the command line.

use std::time::Duration;

use domain::{ActiveWebhook, SuspensionReason, WebhookUrl};
use serde::Serialize;
use store::canonical::rfc3339;
use store::{DeliveryStore, StoreError, StreamId};
use tokio::time::timeout;

use super::delivery_cursor::DeliveryCursor;
use crate::command::WebhookState;

/// How long it may take to read how far a webhook is that was just changed.
const CURSOR_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// A webhook and its delivery progress.
#[derive(Serialize)]
pub(crate) struct WebhookStatus {
    /// A UUID.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) owner: String,
    /// Where events are sent.
    pub(crate) url: String,
    /// The types of events that are sent; all if it is empty.
    pub(crate) types: Vec<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// `active`; `failing`: an event does not get through, and is tried again; or `suspended`: nothing is sent until it is
    /// resumed.
    pub(crate) state: &'static str,
    /// Why it is suspended: `failing` for three days, `gone` (the receiver answered 410), or `owner` (they
    /// may no longer read events).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suspended: Option<&'static str>,
    /// The event that does not get through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failing: Option<FailingDelivery>,
    /// The last position that was looked at: what is wanted up to here was delivered.
    pub(crate) position: u64,
    /// The position of the event that was delivered last.
    pub(crate) previous: u64,
    /// How many replays are asked for and not done.
    pub(crate) replays: usize,
    /// When it was registered: RFC 3339, UTC.
    pub(crate) created_at: String,
}

/// An event that does not get through.
#[derive(Serialize)]
pub(crate) struct FailingDelivery {
    /// Where it is.
    pub(crate) position: u64,
    /// Since when it has been tried.
    pub(crate) since: String,
    /// How often.
    pub(crate) attempts: u32,
    /// When it is tried again.
    pub(crate) next_attempt_at: String,
    /// What went wrong last.
    pub(crate) error: String,
}

/// How many of the requested replays are complete. The number only grows, until a cursor is lost.
///
/// # Errors
/// [`StoreError`] if the delivery cursor cannot be read.
pub(crate) async fn completed_replays(
    deliveries: &dyn DeliveryStore,
    state: &WebhookState,
) -> Result<usize, StoreError> {
    let Some(webhook) = &state.webhook else { return Ok(0) };
    let progress = deliveries.progress(&StreamId::from_trusted(state.id.stream())?).await?;
    Ok(DeliveryCursor::from_progress(progress.as_ref(), webhook)?.replayed)
}

impl WebhookStatus {
    /// With how far it is; none if it was deleted meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be read.
    pub(crate) async fn of(
        deliveries: &dyn DeliveryStore,
        state: &WebhookState,
    ) -> Result<Option<Self>, StoreError> {
        let Some(webhook) = &state.webhook else { return Ok(None) };
        let progress = deliveries.progress(&StreamId::from_trusted(state.id.stream())?).await?;
        Ok(Self::new(state, webhook, &DeliveryCursor::from_progress(progress.as_ref(), webhook)?))
    }

    /// Of one that was just changed: as far as it is, or, where that cannot be read at once, as at its
    /// beginning.
    pub(crate) async fn after_change(deliveries: &dyn DeliveryStore, state: &WebhookState) -> Option<Self> {
        if let Ok(Ok(view)) = timeout(CURSOR_READ_TIMEOUT, Self::of(deliveries, state)).await {
            return view;
        }
        let webhook = state.webhook.as_ref()?;
        Self::new(state, webhook, &DeliveryCursor::from_progress(None, webhook).ok()?)
    }

    fn new(state: &WebhookState, webhook: &ActiveWebhook, cursor: &DeliveryCursor) -> Option<Self> {
        // A failure before the webhook was resumed is no longer current.
        let failing = cursor.failing().filter(|_| cursor.resumed == webhook.resumed);
        Some(Self {
            id: state.id.to_string(),
            owner: webhook.owner.to_string(),
            url: webhook.url.known().map(WebhookUrl::as_str)?.to_owned(),
            types: webhook.types.clone(),
            description: webhook
                .description
                .as_ref()
                .and_then(|words| Some(words.known()?.as_str().to_owned())),
            state: match (webhook.suspended, failing) {
                (Some(_), _) => "suspended",
                (None, Some(_)) => "failing",
                (None, None) => "active",
            },
            suspended: webhook.suspended.map(SuspensionReason::as_str),
            failing: failing.map(|failing| FailingDelivery {
                position: failing.position,
                since: rfc3339(failing.since),
                attempts: failing.failures,
                next_attempt_at: rfc3339(failing.next_attempt_at),
                error: failing.error.clone(),
            }),
            position: cursor.position,
            previous: cursor.previous,
            replays: webhook.queued_replays(cursor.replayed),
            created_at: rfc3339(state.created_at),
        })
    }
}
