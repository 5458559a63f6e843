//! How far one webhook is, and what was tried: kept in memory while it is delivered, and written beside the log every so
//! often. What was delivered and not written yet is delivered once more by whoever takes over.

use std::sync::Arc;
use std::time::Duration;

use domain::{ActiveWebhook, Replay};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{DeliveryProgress, DeliveryStore, StoreError, StreamId};
use tokio::time::Instant;

/// How long deliveries may go unwritten while there are more to come.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// How long it may go unwritten that events were passed over.
const SKIP_FLUSH_INTERVAL: Duration = Duration::from_secs(10);

/// How far a webhook is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveryCursor {
    /// The last position that was looked at: whatever is wanted of what comes before was delivered.
    pub(crate) position: u64,
    /// The position of the event delivered last.
    pub(crate) previous: u64,
    /// How often the webhook had been resumed by then.
    pub(crate) resumed: u64,
    /// How many replays are done.
    pub(crate) replayed: usize,
    /// How far the next one is, once it has begun.
    pub(crate) replay: Option<ReplayCursor>,
    /// The event that does not get through, if one does not.
    pub(crate) failing: Option<FailingDelivery>,
}

/// How far a replay is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayCursor {
    /// The last position that was looked at.
    pub(crate) position: u64,
    /// The position of the event that was delivered before.
    pub(crate) previous: u64,
    /// The event that does not get through, if one does not.
    pub(crate) failing: Option<FailingDelivery>,
}

/// An event that does not get through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailingDelivery {
    /// Where it is.
    pub(crate) position: u64,
    /// When it was tried first.
    pub(crate) since: Timestamp,
    /// How often it was tried.
    pub(crate) failures: u32,
    /// When it is tried again.
    pub(crate) again: Timestamp,
    /// What went wrong last.
    pub(crate) error: String,
}

/// One attempt to deliver an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptRecord {
    /// When it began.
    pub(crate) at: Timestamp,
    /// The event.
    pub(crate) position: u64,
    /// Its id, which is the delivery's `webhook-id`.
    pub(crate) event: String,
    /// Its type.
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    /// How often it was tried, this time included.
    pub(crate) attempt: u32,
    /// Whether it was asked for once more.
    pub(crate) replay: bool,
    /// Whether the receiver has it.
    pub(crate) delivered: bool,
    /// The status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// What went wrong, if anything.
    pub(crate) error: Option<String>,
    /// How long it took, in milliseconds.
    pub(crate) latency_ms: u64,
}

impl DeliveryCursor {
    /// The next replay, begun if it was not: how far it is, and where it ends. What comes after the cursor is delivered
    /// anyway.
    pub(super) fn begin_replay(&mut self, webhook: &ActiveWebhook) -> Option<(u64, u64)> {
        let Replay { from, to } = *webhook.replays.get(self.replayed)?;
        let before = from.saturating_sub(1);
        let begun = ReplayCursor { position: before, previous: before, failing: None };
        let at = self.replay.get_or_insert(begun).position;
        Some((at, to.min(self.position)))
    }

    pub(super) fn end_replay(&mut self) {
        self.replayed += 1;
        self.replay = None;
    }

    /// The event at that position has arrived.
    pub(super) fn mark_delivered(&mut self, position: u64) {
        if let Some(replay) = &mut self.replay {
            *replay = ReplayCursor { position, previous: position, failing: None };
        } else {
            (self.position, self.previous, self.failing) = (position, position, None);
        }
    }

    /// Whatever lies before that position was delivered or is not wanted.
    pub(super) fn skip_to(&mut self, position: u64) {
        match &mut self.replay {
            Some(replay) => replay.position = position,
            None => self.position = position,
        }
    }

    /// The event that does not get through, of what is delivered now: a replay, or what goes on after it.
    pub(crate) fn failing(&self) -> Option<&FailingDelivery> {
        self.replay.as_ref().map_or(&self.failing, |replay| &replay.failing).as_ref()
    }

    /// The same, to be changed.
    pub(super) fn failing_mut(&mut self) -> &mut Option<FailingDelivery> {
        match &mut self.replay {
            Some(replay) => &mut replay.failing,
            None => &mut self.failing,
        }
    }

    /// What is kept of a webhook; at its beginning if nothing is.
    pub(crate) fn from_progress(
        progress: Option<&DeliveryProgress>,
        webhook: &ActiveWebhook,
    ) -> Result<Self, StoreError> {
        let begun = Self { position: webhook.after, previous: webhook.after, ..Self::default() };
        progress.map_or(Ok(begun), |progress| {
            serde_json::from_value(progress.state.clone())
                .map_err(|error| StoreError::corrupt(format!("how far a webhook is cannot be read: {error}")))
        })
    }
}

/// Somebody else delivers this webhook, or it was deleted.
pub(super) struct CursorConflict;

/// What is known of one webhook.
pub(super) struct CursorWriter {
    deliveries: Arc<dyn DeliveryStore>,
    stream: StreamId,
    pub(super) cursor: DeliveryCursor,
    written: DeliveryProgress,
    attempts: Vec<Value>,
    /// Since when something is unwritten.
    since: Option<Instant>,
}

impl CursorWriter {
    pub(super) async fn open(
        deliveries: &Arc<dyn DeliveryStore>,
        stream: StreamId,
        webhook: &ActiveWebhook,
    ) -> Result<Self, StoreError> {
        let written = deliveries.progress(&stream).await?;
        let cursor = DeliveryCursor::from_progress(written.as_ref(), webhook)?;
        let (deliveries, written) = (Arc::clone(deliveries), written.unwrap_or_default());
        Ok(Self { deliveries, stream, cursor, written, attempts: Vec::new(), since: None })
    }

    /// Notes an attempt, whatever came of it.
    pub(super) fn record_attempt(&mut self, attempt: &AttemptRecord) {
        self.attempts.push(serde_json::to_value(attempt).unwrap_or_default());
        self.mark_dirty();
    }

    /// Notes that there is something to be written.
    pub(super) fn mark_dirty(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Writes if that is due while deliveries go on.
    pub(super) async fn flush_if_due(&mut self) -> Result<Result<(), CursorConflict>, StoreError> {
        let bound = if self.attempts.is_empty() { SKIP_FLUSH_INTERVAL } else { FLUSH_INTERVAL };
        match self.since {
            Some(since) if since.elapsed() >= bound => self.flush().await,
            _ => Ok(Ok(())),
        }
    }

    /// How long until something has to be written, if nothing else happens.
    pub(super) fn flush_due(&self) -> Option<Instant> {
        self.since.map(|since| since + SKIP_FLUSH_INTERVAL)
    }

    /// Writes what is not written yet.
    pub(super) async fn flush(&mut self) -> Result<Result<(), CursorConflict>, StoreError> {
        if self.since.is_none() {
            return Ok(Ok(()));
        }
        let attempts = self.written.attempts + u64::try_from(self.attempts.len()).unwrap_or_default();
        let state = serde_json::to_value(&self.cursor).unwrap_or_default();
        let next = DeliveryProgress { revision: self.written.revision + 1, attempts, state };
        if !self.deliveries.record(&self.stream, &next, &self.attempts).await? {
            return Ok(Err(CursorConflict));
        }
        (self.written, self.since) = (next, None);
        self.attempts.clear();
        Ok(Ok(()))
    }
}
