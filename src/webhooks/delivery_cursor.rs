//! The delivery cursor of one webhook in the log, which serves as the outbox, and its recent attempts.
//!
//! Both are held in memory while the webhook is delivered, and recorded at intervals by the `cursor_recorder`.
//! Deliveries that were not recorded before a crash are repeated by the next node: delivery is at least once.

use std::time::Duration;

use domain::{ActiveWebhook, Replay};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Corruption, DeliveryProgress, StoreError, StreamId, WriteError};
use tokio::time::Instant;

use super::cursor_recorder::{CursorRecorder, RecordedCursor};

/// How long the cursor may remain unrecorded after skipping events that the webhook does not want.
const SKIP_RECORD_INTERVAL: Duration = Duration::from_secs(10);

/// How far one webhook has been delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveryCursor {
    /// Every wanted event up to this position was delivered.
    pub(crate) position: u64,
    /// The position of the last delivered event.
    pub(crate) previous: u64,
    /// How often the webhook had been resumed when the cursor was written.
    pub(crate) resumed: u64,
    /// How many replays are complete, or were cancelled.
    pub(crate) replayed: usize,
    /// The replay in progress.
    pub(crate) replay: Option<ReplayCursor>,
    pub(crate) failing: Option<FailingDelivery>,
    /// The end of the log when the cursor was found beyond it, because the log was restored from a backup. Nothing
    /// is delivered until the cursor is reset, also once the log has grown past it.
    #[serde(default)]
    pub(crate) ahead_of_log: Option<u64>,
}

/// How far a replay has been delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayCursor {
    /// Every wanted event up to this position was delivered again.
    pub(crate) position: u64,
    /// The position of the last delivered event of the replay.
    pub(crate) previous: u64,
    pub(crate) failing: Option<FailingDelivery>,
}

/// An event whose delivery failed and is being retried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailingDelivery {
    pub(crate) position: u64,
    /// The time of the first attempt.
    pub(crate) since: Timestamp,
    pub(crate) failures: u32,
    /// The sum of the scheduled delays, in milliseconds, after which it was attempted again. Neither a node that
    /// was down nor a clock that jumped adds to it.
    #[serde(default)]
    pub(crate) retried_for_ms: u64,
    /// The delay before the next attempt, in milliseconds.
    #[serde(default)]
    pub(crate) delay_ms: u64,
    #[serde(rename = "again")]
    pub(crate) next_attempt_at: Timestamp,
    pub(crate) error: String,
}

/// One delivery attempt, as it is stored and shown by the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptRecord {
    pub(crate) at: Timestamp,
    pub(crate) position: u64,
    /// The id of the event, or of the first one of the batch.
    pub(crate) event: String,
    /// The number of events in the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<usize>,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    /// The number of this attempt, from 1.
    pub(crate) attempt: u32,
    pub(crate) replay: bool,
    pub(crate) delivered: bool,
    /// The HTTP status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) latency_ms: u64,
}

impl DeliveryCursor {
    /// Starts or continues the next replay: its position and its end. Events after the cursor are delivered
    /// anyway, so it ends there at the latest.
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

    pub(super) fn mark_delivered(&mut self, position: u64) {
        if let Some(replay) = &mut self.replay {
            *replay = ReplayCursor { position, previous: position, failing: None };
        } else {
            (self.position, self.previous, self.failing) = (position, position, None);
        }
    }

    /// Advances past events that were delivered or are not wanted.
    pub(super) fn skip_to(&mut self, position: u64) {
        match &mut self.replay {
            Some(replay) => replay.position = position,
            None => self.position = position,
        }
    }

    /// Moves a cursor that is beyond the end of the log back to it; returns whether it was.
    pub(super) fn reset_to(&mut self, head: u64) -> bool {
        let end = self.ahead_of_log.take().unwrap_or(head);
        if self.position <= end {
            return false;
        }
        (self.position, self.previous, self.failing) = (end, self.previous.min(end), None);
        self.replay = None;
        true
    }

    /// The failing event of the replay in progress, or else of the normal delivery.
    pub(crate) fn failing(&self) -> Option<&FailingDelivery> {
        self.replay.as_ref().map_or(&self.failing, |replay| &replay.failing).as_ref()
    }

    /// The same, if it is the event at that position.
    pub(super) fn failing_at(&self, position: u64) -> Option<&FailingDelivery> {
        self.failing().filter(|failing| failing.position == position)
    }

    /// The position of the event delivered before the next one.
    pub(super) fn previous(&self) -> u64 {
        self.replay.as_ref().map_or(self.previous, |replay| replay.previous)
    }

    pub(super) fn failing_mut(&mut self) -> &mut Option<FailingDelivery> {
        match &mut self.replay {
            Some(replay) => &mut replay.failing,
            None => &mut self.failing,
        }
    }

    /// The stored cursor, or the starting position of the webhook if none is stored. Cancelled replays are over.
    pub(crate) fn from_progress(
        progress: Option<&DeliveryProgress>,
        webhook: &ActiveWebhook,
    ) -> Result<Self, StoreError> {
        let begun = Self { position: webhook.after, previous: webhook.after, ..Self::default() };
        let stored = progress.map_or(Ok(begun), |progress| serde_json::from_value(progress.state.clone()));
        let mut cursor: Self = stored.map_err(|error| {
            StoreError::from(Corruption::invalid("the delivery cursor of a webhook", error))
        })?;
        if cursor.replayed < webhook.cancelled_replays {
            (cursor.replayed, cursor.replay) = (webhook.cancelled_replays, None);
        }
        Ok(cursor)
    }
}

/// The cursor of one webhook and its attempts, on the way to the [recorder](CursorRecorder).
pub(super) struct CursorWriter {
    pub(super) cursor: DeliveryCursor,
    slot: RecordedCursor,
    attempts: Vec<Value>,
    dirty_since: Option<Instant>,
}

impl CursorWriter {
    pub(super) async fn open(
        recorder: &CursorRecorder,
        stream: StreamId,
        webhook: &ActiveWebhook,
    ) -> Result<Self, StoreError> {
        let stored = recorder.store().progress(&stream).await?;
        let cursor = DeliveryCursor::from_progress(stored.as_ref(), webhook)?;
        let slot = recorder.open(stream, stored.unwrap_or_default());
        Ok(Self { cursor, slot, attempts: Vec::new(), dirty_since: None })
    }

    pub(super) fn record_attempt(&mut self, attempt: &AttemptRecord) {
        self.attempts.push(serde_json::to_value(attempt).unwrap_or_default());
        self.mark_dirty();
    }

    pub(super) fn mark_dirty(&mut self) {
        self.dirty_since.get_or_insert_with(Instant::now);
    }

    /// Has the cursor recorded if attempts were made, or if it has been skipping events for a while.
    pub(super) fn submit_if_due(&mut self) -> Result<(), WriteError> {
        let is_due = |since: Instant| !self.attempts.is_empty() || since.elapsed() >= SKIP_RECORD_INTERVAL;
        if self.dirty_since.is_some_and(is_due) { self.submit() } else { Ok(()) }
    }

    /// Has the cursor recorded, without waiting for it. A conflict, which may be that of an earlier submission,
    /// means that another node delivers this webhook, or that it was deleted.
    pub(super) fn submit(&mut self) -> Result<(), WriteError> {
        if self.dirty_since.take().is_none() {
            return Ok(());
        }
        let state = serde_json::to_value(&self.cursor).unwrap_or_default();
        self.slot.submit(state, std::mem::take(&mut self.attempts))
    }

    /// When the cursor has to be recorded if no further event is delivered.
    pub(super) fn submit_due(&self) -> Option<Instant> {
        self.dirty_since.map(|since| since + SKIP_RECORD_INTERVAL)
    }

    /// Has the cursor recorded, and waits for it.
    pub(super) async fn flush(&mut self) -> Result<(), WriteError> {
        self.submit()?;
        self.slot.flush().await
    }
}
