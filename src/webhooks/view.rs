//! A webhook as the API and the command line show it.

use std::time::Duration;

use domain::{ActiveWebhook, SuspensionReason, WebhookUrl};
use serde::Serialize;
use store::canonical::rfc3339;
use store::{DeliveryStore, StoreError, StreamId};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::delivery_cursor::DeliveryCursor;
use crate::command::WebhookState;

/// How long it may take to read how far a webhook is that was just changed.
const CURSOR_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// A webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookView {
    /// A UUID.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) owner: String,
    /// Where events are sent.
    #[schema(examples("https://example.com/events"))]
    pub(crate) url: String,
    /// The types of events that are sent; all if it is empty.
    types: Vec<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
    /// `active`; `failing`: an event does not get through, and is tried again; or `suspended`: nothing is
    /// sent until it is resumed.
    #[schema(examples("active"))]
    pub(crate) state: &'static str,
    /// Why it is suspended: `failing` for three days, `gone` (the receiver answered 410), or `owner` (they
    /// may no longer read events).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) suspended: Option<&'static str>,
    /// The event that does not get through.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) failing: Option<FailingView>,
    /// The last position that was looked at: what is wanted up to here was delivered.
    pub(crate) position: u64,
    /// The position of the event that was delivered last.
    previous: u64,
    /// How many replays are asked for and not done.
    replays: usize,
    /// When it was registered: RFC 3339, UTC.
    #[schema(format = DateTime, examples("2026-11-22T08:03:14.680Z"))]
    created_at: String,
}

/// An event that does not get through.
#[derive(Serialize, ToSchema)]
#[schema(as = FailingDelivery)]
pub(crate) struct FailingView {
    /// Where it is.
    position: u64,
    /// Since when it has been tried.
    #[schema(format = DateTime)]
    since: String,
    /// How often.
    attempts: u32,
    /// When it is tried again.
    #[schema(format = DateTime)]
    next_attempt_at: String,
    /// What went wrong last.
    pub(crate) error: String,
}

impl WebhookView {
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
        // What failed before it was resumed is tried anew.
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
            failing: failing.map(|failing| FailingView {
                position: failing.position,
                since: rfc3339(failing.since),
                attempts: failing.failures,
                next_attempt_at: rfc3339(failing.next_attempt_at),
                error: failing.error.clone(),
            }),
            position: cursor.position,
            previous: cursor.previous,
            replays: webhook.replays.len().saturating_sub(cursor.replayed),
            created_at: rfc3339(state.created_at),
        })
    }
}
