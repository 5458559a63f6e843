//! The status of a webhook: its definition, its delivery progress, and what holds deliveries up, for the API and
//! the command line. Derived from what is stored, so that every node shows the same.

use std::time::Duration;

use domain::{ActiveWebhook, BatchSize, SuspensionReason, WebhookUrl};
use projections::{Projection, Users, Webhooks};
use serde::Serialize;
use store::canonical::rfc3339;
use store::{DeliveryStore, Position, StoreError, StreamId};
use tokio::time::timeout;

use super::delivery_context::DeliveryContext;
use super::delivery_cursor::DeliveryCursor;
use super::delivery_state::DeliveryState;
use crate::command::WebhookState;
use crate::query::QueryError;

/// How long it may take to read how far a webhook is that was just changed.
const CURSOR_READ_TIMEOUT: Duration = Duration::from_secs(1);
/// The lag of a read model from which it counts as holding deliveries up. A shorter one is normal.
const HELD_UP_AFTER: Duration = Duration::from_secs(1);

/// A webhook and its delivery progress.
#[derive(Serialize)]
pub(crate) struct WebhookStatus {
    pub(crate) id: String,
    pub(crate) owner: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    pub(crate) types: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<u64>,
    /// The name of a [`DeliveryState`].
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suspended: Option<&'static str>,
    /// The read model that deliveries wait for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waiting: Option<&'static str>,
    /// Why the webhook is unreadable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unreadable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failing: Option<FailingDelivery>,
    pub(crate) position: u64,
    pub(crate) previous: u64,
    pub(crate) replays: usize,
    pub(crate) created_at: String,
}

/// An event whose delivery failed and is being retried.
#[derive(Serialize)]
pub(crate) struct FailingDelivery {
    pub(crate) position: u64,
    pub(crate) since: String,
    pub(crate) attempts: u32,
    pub(crate) next_attempt_at: String,
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

/// What is known of a webhook beside its definition.
#[derive(Default)]
struct Findings {
    cursor: DeliveryCursor,
    waiting: Option<&'static str>,
    unreadable: Option<StoreError>,
    is_ahead: bool,
}

impl DeliveryContext {
    /// The status of a webhook; `None` if it was deleted.
    ///
    /// # Errors
    /// [`StoreError`] if the progress cannot be read. Damage of this webhook alone is a state, not an error.
    pub(crate) async fn status(&self, state: &WebhookState) -> Result<Option<WebhookStatus>, StoreError> {
        let Some(webhook) = &state.webhook else { return Ok(None) };
        let findings = self.findings(state, webhook).await?;
        Ok(Some(WebhookStatus::new(state, webhook, &findings)))
    }

    /// The status of a webhook that was just changed. If its progress cannot be read at once, it is shown as at
    /// its beginning.
    pub(crate) async fn status_after_change(&self, state: &WebhookState) -> Option<WebhookStatus> {
        if let Ok(Ok(status)) = timeout(CURSOR_READ_TIMEOUT, self.status(state)).await {
            return status;
        }
        let webhook = state.webhook.as_ref()?;
        let cursor = DeliveryCursor::from_progress(None, webhook).ok()?;
        Some(WebhookStatus::new(state, webhook, &Findings { cursor, ..Findings::default() }))
    }

    /// Whether delivery is held up although the webhook is not suspended. If the cursor cannot be read, it may
    /// be.
    pub(crate) async fn is_stalled(&self, state: &WebhookState) -> bool {
        match timeout(CURSOR_READ_TIMEOUT, self.status(state)).await {
            Ok(Ok(Some(status))) => {
                let stalled =
                    [DeliveryState::AheadOfLog, DeliveryState::Unreadable].map(DeliveryState::as_str);
                status.failing.is_some() || stalled.contains(&status.state)
            }
            Ok(Ok(None)) => false,
            Ok(Err(_)) | Err(_) => true,
        }
    }

    async fn findings(&self, state: &WebhookState, webhook: &ActiveWebhook) -> Result<Findings, StoreError> {
        let progress = self.deliveries.progress(&StreamId::from_trusted(state.id.stream())?).await;
        let cursor = match progress.and_then(|found| DeliveryCursor::from_progress(found.as_ref(), webhook)) {
            Ok(cursor) => cursor,
            Err(error @ StoreError::Corrupt(_)) => {
                return Ok(Findings { unreadable: Some(error), ..Findings::default() });
            }
            Err(error) => return Err(error),
        };
        let unreadable = state.unreadable.clone();
        let is_ahead = cursor.ahead_of_log.is_some() || self.head_before(cursor.position).await?.is_some();
        let waiting = match webhook.suspended {
            None if !is_ahead => self.awaited_read_model(state, &cursor).await?,
            None | Some(_) => None,
        };
        Ok(Findings { cursor, waiting, unreadable, is_ahead })
    }

    /// The head of the log, if a cursor that was read before is beyond it.
    pub(super) async fn head_before(&self, cursor: u64) -> Result<Option<u64>, StoreError> {
        // What this process knows of the head may be older than the cursor.
        if cursor <= self.store.progress().head.get() {
            return Ok(None);
        }
        let head = self.store.head().await?.position.get();
        Ok((cursor > head).then_some(head))
    }

    /// The read model that holds deliveries up: the row that makes a node deliver is missing, or the row of the
    /// owner lacks an event.
    async fn awaited_read_model(
        &self,
        state: &WebhookState,
        cursor: &DeliveryCursor,
    ) -> Result<Option<&'static str>, StoreError> {
        if Position::new(cursor.position) >= self.store.progress().head {
            return Ok(None);
        }
        if self.is_lagging(&Webhooks) {
            let row = self.rows.find(state.id).await.map_err(into_store_error)?;
            if row.is_none_or(|row| row.suspended.is_some()) {
                return Ok(Some(Webhooks.name()));
            }
        }
        let awaits_owner =
            self.is_lagging(&Users) && !self.users.is_current(state.owner).await.map_err(into_store_error)?;
        Ok(awaits_owner.then(|| Users.name()))
    }

    fn is_lagging(&self, projection: &'static dyn Projection) -> bool {
        let progress = self.store.progress();
        let table = projection.table(progress.live_version(projection.name()));
        progress.lag(&table.name).is_some_and(|lag| lag.is_lower_bound || lag.age >= HELD_UP_AFTER)
    }
}

fn into_store_error(error: QueryError) -> StoreError {
    match error {
        QueryError::Store(error) => error,
        QueryError::Behind { .. } | QueryError::BeyondHead { .. } | QueryError::ErasedMeanwhile => {
            StoreError::Unavailable { what: error.to_string(), source: None }
        }
    }
}

impl WebhookStatus {
    fn new(state: &WebhookState, webhook: &ActiveWebhook, findings: &Findings) -> Self {
        let Findings { cursor, waiting, unreadable, is_ahead } = findings;
        // A failure before the webhook was resumed is no longer current.
        let failing = cursor.failing().filter(|_| cursor.resumed == webhook.resumed);
        let delivery_state = match (webhook.suspended, unreadable, failing, waiting) {
            (Some(_), ..) => DeliveryState::Suspended,
            (_, Some(_), ..) => DeliveryState::Unreadable,
            _ if *is_ahead => DeliveryState::AheadOfLog,
            (_, _, Some(_), _) => DeliveryState::Failing,
            (_, _, _, Some(_)) => DeliveryState::Waiting,
            (None, None, None, None) => DeliveryState::Active,
        };
        let is_waiting = delivery_state == DeliveryState::Waiting;
        Self {
            id: state.id.to_string(),
            owner: webhook.owner.to_string(),
            url: webhook.url.known().map(WebhookUrl::as_str).map(ToOwned::to_owned),
            types: webhook.types.clone(),
            description: webhook
                .description
                .as_ref()
                .and_then(|words| Some(words.known()?.as_str().to_owned())),
            batch: webhook.batch.map(BatchSize::events),
            state: delivery_state.as_str(),
            suspended: webhook.suspended.map(SuspensionReason::as_str),
            waiting: waiting.filter(|_| is_waiting),
            unreadable: unreadable.as_ref().map(ToString::to_string),
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
        }
    }
}
