//! How far the log has been turned into mails: a cursor, and the mails that are not sent yet. Recorded beside the
//! log, among the delivery cursors of webhooks, by compare-and-set: of two nodes only one can begin a mail.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Corruption, DeliveryProgress, DeliveryStore, Envelope, EventStore, InternalError, Position, StoreError,
    StreamId, WriteError,
};
use tokio::time::Instant;

/// The name of the record. No stream of the log has it.
const RECORD: &str = "mailer";
/// How many mails may wait: reading stops while there are as many, because the record is written with each mail.
pub(super) const MAX_PENDING: usize = if cfg!(test) { 40 } else { 500 };

/// The longest delay between two attempts: a link that expires in half an hour must leave soon after an outage.
pub(super) const MAX_RETRY_DELAY: Duration = Duration::from_mins(5);

/// How long the cursor alone may remain unrecorded.
const CURSOR_WRITE_INTERVAL: Duration = Duration::from_secs(10);

/// The state that is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MailProgress {
    /// The epoch of the log that the positions belong to.
    pub(super) epoch: u64,
    /// The mails of events up to here are pending, or done with.
    pub(super) cursor: u64,
    /// In the order of the log.
    pub(super) pending: Vec<PendingMail>,
}

/// The mail of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingMail {
    /// The position of the event.
    pub(super) position: u64,
    /// The time of the event.
    pub(super) at: Timestamp,
    /// Attempts begun.
    pub(super) attempts: u32,
    pub(super) next_attempt_at: Timestamp,
}

impl MailProgress {
    fn starting_at(epoch: u64, head: Position) -> Self {
        Self { epoch, cursor: head.get(), pending: Vec::new() }
    }

    /// Adds the mail of an event.
    pub(super) fn add(&mut self, event: &Envelope) {
        let (position, at) = (event.position.get(), event.at);
        self.pending.push(PendingMail { position, at, attempts: 0, next_attempt_at: Timestamp::UNIX_EPOCH });
    }

    /// How many more mails may be added.
    pub(super) fn capacity(&self) -> usize {
        MAX_PENDING.saturating_sub(self.pending.len())
    }

    /// Begins an attempt at the mail that has been due for the longest time, if `is_free`. Should this process end
    /// meanwhile, the mail is due again after `delay`.
    pub(super) fn begin_next(
        &mut self,
        now: Timestamp,
        is_free: impl Fn(u64) -> bool,
        delay: impl Fn(u32) -> Duration,
    ) -> Option<PendingMail> {
        let free = self.pending.iter_mut().filter(|mail| is_free(mail.position));
        let next = free.min_by_key(|mail| (mail.next_attempt_at, mail.position))?;
        // A time that lies further ahead than any delay was set by a clock that was ahead.
        if next.next_attempt_at > now && next.next_attempt_at <= after(now, MAX_RETRY_DELAY) {
            return None;
        }
        next.attempts = next.attempts.saturating_add(1);
        next.next_attempt_at = after(now, delay(next.attempts));
        Some(*next)
    }

    /// When the next mail that `is_free` is due.
    pub(super) fn next_due(&self, is_free: impl Fn(u64) -> bool) -> Option<Timestamp> {
        let free = self.pending.iter().filter(|mail| is_free(mail.position));
        free.map(|mail| mail.next_attempt_at).min()
    }

    pub(super) fn remove(&mut self, position: u64) {
        self.pending.retain(|mail| mail.position != position);
    }

    pub(super) fn retry_at(&mut self, position: u64, at: Timestamp) {
        for mail in self.pending.iter_mut().filter(|mail| mail.position == position) {
            mail.next_attempt_at = at;
        }
    }

    /// The time of the event whose mail has been pending for the longest time.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.pending.iter().map(|mail| mail.at).min()
    }
}

/// A time after another, at most the last one that can be represented.
pub(super) fn after(time: Timestamp, delay: Duration) -> Timestamp {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    time.checked_add(delay).unwrap_or(Timestamp::MAX)
}

/// The progress in memory and how it was last recorded.
pub(super) struct ProgressRecord {
    deliveries: Arc<dyn DeliveryStore>,
    stream: StreamId,
    /// As in the database; `None` before the first write.
    recorded: Option<DeliveryProgress>,
    /// Whether the outcome of the last write is unknown.
    is_uncertain: bool,
    written_at: Instant,
    pub(super) state: MailProgress,
}

impl ProgressRecord {
    /// Reads the record. Without one, mails are sent about what happens from now on; and also if it cannot be used:
    /// no mail that was sent already is repeated.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails, [`WriteError::Conflict`] if another node writes meanwhile.
    pub(super) async fn open(
        deliveries: &Arc<dyn DeliveryStore>,
        log: &EventStore,
    ) -> Result<Self, WriteError> {
        let (deliveries, stream) = (Arc::clone(deliveries), StreamId::from_trusted(RECORD)?);
        let read = deliveries.progress(&stream).await;
        let read = read.and_then(|recorded| {
            recorded.map(|recorded| Ok((parse(&recorded.state)?, recorded))).transpose()
        });
        let read = match read {
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(%error, "the record of mails cannot be used, and is replaced");
                deliveries.forget(&stream).await?;
                None
            }
            read => read?,
        };
        let (epoch, head) = (log.identity().epoch, log.head().await?.position);
        let (state, recorded) = match read {
            Some((state, recorded)) => (state, Some(recorded)),
            None => (MailProgress::starting_at(epoch, head), None),
        };
        let written_at = Instant::now();
        let mut record = Self { deliveries, stream, recorded, is_uncertain: false, written_at, state };
        record.follow_log(epoch, head);
        record.write().await?;
        Ok(record)
    }

    /// Starts over at the head if the log was restored from a backup: mails that the backup lists as pending may have
    /// been sent since, and the events at the positions may be others.
    fn follow_log(&mut self, epoch: u64, head: Position) {
        let MailProgress { epoch: known, cursor, pending } = &self.state;
        if *known == epoch && *cursor <= head.get() {
            return;
        }
        tracing::warn!(
            cursor,
            head = head.get(),
            dropped = pending.len(),
            "the log was restored from a backup: mails are sent about what happens from now on"
        );
        self.state = MailProgress::starting_at(epoch, head);
    }

    /// As [`write`](Self::write), unless all that has changed is how far the log was read without finding a mail, and
    /// that was recorded lately: reading it again costs less than writing.
    pub(super) async fn write_if_due(&mut self) -> Result<(), WriteError> {
        let recorded = self.recorded.as_ref().and_then(|recorded| parse(&recorded.state).ok());
        let has_same_mails = recorded.is_some_and(|recorded| recorded.pending == self.state.pending);
        let is_due = !has_same_mails || self.written_at.elapsed() >= CURSOR_WRITE_INTERVAL;
        if is_due { self.write().await } else { Ok(()) }
    }

    /// Records the state, durably, if it has changed.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if another node has written: it delivers.
    pub(super) async fn write(&mut self) -> Result<(), WriteError> {
        let state = serde_json::to_value(&self.state)
            .map_err(|error| StoreError::from(InternalError::encoding("the record of mails", error)))?;
        if self.recorded.as_ref().is_some_and(|recorded| recorded.state == state) {
            return Ok(());
        }
        let revision = self.recorded.as_ref().map_or(0, |recorded| recorded.revision) + 1;
        let next = DeliveryProgress { revision, attempts: 0, state };
        match self.deliveries.record(&self.stream, &next, &[]).await {
            Ok(()) => {}
            Err(WriteError::Conflict) if self.is_uncertain => {
                // Unless the earlier attempt has written it.
                if self.deliveries.progress(&self.stream).await?.as_ref() != Some(&next) {
                    return Err(WriteError::Conflict);
                }
            }
            Err(error) => {
                self.is_uncertain = true;
                return Err(error);
            }
        }
        (self.recorded, self.is_uncertain, self.written_at) = (Some(next), false, Instant::now());
        Ok(())
    }
}

fn parse(state: &serde_json::Value) -> Result<MailProgress, StoreError> {
    MailProgress::deserialize(state)
        .map_err(|error| Corruption::invalid("the record of mails".to_owned(), error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(position: u64, due: i64) -> PendingMail {
        let (at, next_attempt_at) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(due).unwrap());
        PendingMail { position, at, attempts: 0, next_attempt_at }
    }

    #[test]
    fn mail_due_first_is_begun_first_and_due_again_later() {
        let pending = vec![mail(1, 50), mail(2, 10), mail(3, 20)];
        let mut progress = MailProgress { epoch: 1, cursor: 3, pending };
        let now = Timestamp::from_second(30).unwrap();
        let begin = |progress: &mut MailProgress, busy: u64| {
            progress.begin_next(now, |position| position != busy, |_| Duration::from_mins(1))
        };
        let first = begin(&mut progress, 0).unwrap();
        assert_eq!((first.position, first.attempts, first.next_attempt_at.as_second()), (2, 1, 90));
        assert_eq!(begin(&mut progress, 3), None, "busy, or not due");
        assert_eq!(begin(&mut progress, 2).unwrap().position, 3);
        assert_eq!(progress.next_due(|_| true).unwrap().as_second(), 50);
        let clock_set_back = Timestamp::from_second(-1_000).unwrap();
        let first = progress.clone().begin_next(clock_set_back, |_| true, |_| Duration::ZERO);
        assert_eq!(first.unwrap().position, 1);
        progress.remove(1);
        assert_eq!(progress.next_due(|position| position == 3).unwrap().as_second(), 90);
    }

    #[test]
    fn delay_beyond_the_calendar_is_the_end_of_time() {
        assert_eq!(after(Timestamp::UNIX_EPOCH, Duration::MAX), Timestamp::MAX);
        assert_eq!(after(Timestamp::UNIX_EPOCH, Duration::from_secs(7)).as_second(), 7);
    }
}
