//! Delivers the events of the log to one webhook endpoint, in order, each retried until the receiver
//! acknowledges it.
//!
//! The log is the outbox: a worker reads it from the delivery cursor of its webhook, so appending an event
//! involves no webhook. Each webhook has its own worker, so a slow or failing endpoint delays no other. One
//! attempt is made in `attempt`; which node runs the workers is decided in `dispatcher`.

use std::ops::Range;
use std::time::Duration;

use domain::{ActiveWebhook, SuspensionReason, WebhookCommand, WebhookId, WebhookRejection, WebhookUrl};
use store::{Corruption, Page, Position, StoreError, StreamCache, StreamId, WriteError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::attempt::Delivery;
use super::cursor_recorder::CursorRecorder;
use super::delivery_context::DeliveryContext;
use super::delivery_cursor::CursorWriter;
use super::delivery_error::DeliveryError;
use super::delivery_state::{DeliveryState, SharedState};
use super::message::Message;
use super::retry_policy::GIVE_UP_AFTER;
use super::retry_schedule::{remaining_delay, schedule_retry};
use super::sender::WebhookSender;
use super::shared_reader::{SharedReader, Subscription};
use crate::command::{CommandError, WebhookState};

/// Events read at once.
const PAGE_SIZE: usize = 100;
/// The pause after an error of this node or its database.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// The pause after an error that does not pass by itself.
const DAMAGE_PAUSE: Duration = Duration::from_mins(1);
/// How long a page of events and the check of the owner's authorization remain valid.
const CHECK_VALIDITY: Duration = Duration::from_secs(1);
/// How often a webhook whose cursor is ahead of the log is looked at again.
const AHEAD_CHECK_INTERVAL: Duration = Duration::from_mins(1);
/// How long the cursor of a webhook without events to deliver may stay behind, in milliseconds: at least and at
/// most, so that those of many webhooks do not move at the same time.
const IDLE_INTERVAL_MS: Range<u64> = 30_000..60_000;
/// How long the cursor may take to be flushed when the worker stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Delivers to one webhook.
pub(super) struct DeliveryWorker {
    pub(super) id: WebhookId,
    pub(super) stream: StreamId,
    pub(super) context: DeliveryContext,
    pub(super) sender: WebhookSender,
    pub(super) recorder: CursorRecorder,
    pub(super) reader: SharedReader,
    /// The versions of the streams of webhooks, according to the log.
    pub(super) versions: StreamCache<u64>,
    /// The version of the webhook in the read model.
    pub(super) version: watch::Receiver<u64>,
    pub(super) state: SharedState,
    pub(super) stop: CancellationToken,
    /// How often the webhook had been resumed when its cursor was found not to be authentic.
    pub(super) refused_cursor: Option<u64>,
}

/// Why a delivery loop ended.
enum LoopExit {
    /// The webhook has changed: continue with its new state.
    Changed,
    /// Nothing is left to deliver, or another node delivers.
    Finished,
}

impl DeliveryWorker {
    /// Delivers until nothing is left to deliver, or the worker is stopped.
    pub(super) async fn run(mut self) {
        loop {
            match self.deliver_until_changed().await {
                Ok(LoopExit::Changed) => {}
                Ok(LoopExit::Finished) | Err(DeliveryError::Write(WriteError::Conflict)) => return,
                Err(error) => {
                    self.state.set(error.delivery_state());
                    let pause = if error.is_damage() { DAMAGE_PAUSE } else { ERROR_PAUSE };
                    tracing::warn!(webhook = %self.id, %error, ?pause, "webhook worker failed; retrying");
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        changed = self.version.changed() => if changed.is_err() { return },
                        () = sleep(pause) => {}
                    }
                }
            }
        }
    }

    async fn deliver_until_changed(&mut self) -> Result<LoopExit, DeliveryError> {
        self.version.mark_unchanged();
        let (webhook, version) = match self.context.commands.state(self.id).await {
            Ok(WebhookState { unreadable: Some(error), .. }) => return Err(DeliveryError::Unreadable(error)),
            Ok(state) => (state.webhook, state.version),
            // The read model lists a webhook that the log does not contain.
            Err(CommandError::WebhookRejected(WebhookRejection::Unknown)) => {
                self.state.set_deleted();
                return Ok(LoopExit::Finished);
            }
            Err(error) => return Err(error.into()),
        };
        let Some(webhook) = webhook else {
            self.context.deliveries.forget(&self.stream).await?;
            self.state.set_deleted();
            return Ok(LoopExit::Finished);
        };
        let Some(url) = webhook.url.known().filter(|_| webhook.suspended.is_none()) else {
            return Ok(LoopExit::Finished);
        };
        let mut writer = self.open_cursor(&webhook).await?;
        if writer.cursor.resumed != webhook.resumed {
            writer.cursor.resumed = webhook.resumed;
            if let Some(end) = writer.cursor.ahead_of_log {
                writer.cursor.reset_to(end);
            }
            // Resuming starts the retries over, also of the event that waits behind a replay.
            (*writer.cursor.failing_mut(), writer.cursor.failing) = (None, None);
            writer.mark_dirty();
        }
        if self.hold_if_ahead_of_log(&mut writer).await? {
            return self.wait_for_reset().await;
        }
        let is_failing = writer.cursor.failing().is_some();
        self.state.set(if is_failing { DeliveryState::Failing } else { DeliveryState::Active });
        let (stop, feed) = (self.stop.clone(), self.reader.subscribe(self.id, &webhook));
        let exit = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(LoopExit::Finished),
            exit = Box::pin(self.deliver_pages(&webhook, version, url, &feed, &mut writer)) => exit,
        };
        feed.stop_waiting(&mut writer);
        // A graceful stop repeats no delivery.
        match timeout(FLUSH_TIMEOUT, writer.flush()).await {
            Ok(Err(conflict @ WriteError::Conflict)) => Err(conflict.into()),
            Ok(Err(error)) => exit.and(Err(error.into())),
            Ok(Ok(())) | Err(_) => exit,
        }
    }

    /// Opens the cursor. If it is not authentic, nothing is delivered until the webhook is resumed; then
    /// delivery starts over, because how far it had come is unknown.
    async fn open_cursor(&mut self, webhook: &ActiveWebhook) -> Result<CursorWriter, DeliveryError> {
        let opened = CursorWriter::open(&self.recorder, self.stream.clone(), webhook).await;
        let Err(StoreError::Corrupt(Corruption::CursorTampered { .. })) = &opened else { return Ok(opened?) };
        let refused_at = *self.refused_cursor.get_or_insert(webhook.resumed);
        if webhook.resumed <= refused_at {
            return Ok(opened?);
        }
        tracing::warn!(webhook = %self.id, "deliveries start over: the delivery cursor was not authentic");
        self.context.deliveries.forget(&self.stream).await?;
        self.refused_cursor = None;
        Ok(CursorWriter::open(&self.recorder, self.stream.clone(), webhook).await?)
    }

    /// Whether the cursor is beyond the end of the log, or was found there before: then events that the log
    /// has now are not those that were delivered, and where to continue is unknown.
    async fn hold_if_ahead_of_log(&self, writer: &mut CursorWriter) -> Result<bool, DeliveryError> {
        if writer.cursor.ahead_of_log.is_some() {
            return Ok(true);
        }
        let position = writer.cursor.position;
        let Some(head) = self.context.head_before(position).await? else { return Ok(false) };
        tracing::error!(
            webhook = %self.id, position, head,
            "delivery cursor is beyond the end of the log, as after restoring a backup: no deliveries until \
             `aegis events restored` is run or the webhook is resumed"
        );
        writer.cursor.ahead_of_log = Some(head);
        writer.mark_dirty();
        writer.flush().await?;
        Ok(true)
    }

    async fn wait_for_reset(&mut self) -> Result<LoopExit, DeliveryError> {
        self.state.set(DeliveryState::AheadOfLog);
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => Ok(LoopExit::Finished),
            exit = self.changed() => Ok(exit),
            () = sleep(AHEAD_CHECK_INTERVAL) => Ok(LoopExit::Changed),
        }
    }

    async fn deliver_pages(
        &mut self,
        webhook: &ActiveWebhook,
        version: u64,
        url: &WebhookUrl,
        feed: &Subscription,
        writer: &mut CursorWriter,
    ) -> Result<LoopExit, DeliveryError> {
        loop {
            let replay = writer.cursor.begin_replay(webhook);
            let page = match replay {
                Some((after, until)) if after >= until => {
                    writer.cursor.end_replay();
                    writer.mark_dirty();
                    continue;
                }
                Some((after, until)) => {
                    feed.log_page(Position::new(after), Position::new(until), PAGE_SIZE).await?
                }
                None => {
                    let after = Position::new(writer.cursor.position);
                    let page = feed.page(after, PAGE_SIZE).await?;
                    if page.next == after {
                        if let Some(exit) = self.wait(feed, writer).await? {
                            return Ok(exit);
                        }
                        continue;
                    }
                    page
                }
            };
            // No event is sent that follows a change or the deletion of the webhook.
            if !page.events.is_empty() && !self.is_unchanged(version).await? {
                return Ok(LoopExit::Changed);
            }
            if let Some(exit) = self.deliver_page(webhook, url, &page, replay.is_some(), writer).await? {
                return Ok(exit);
            }
        }
    }

    /// Whether the stream of the webhook has no event after that version. Of many workers that ask at the same
    /// time, one reads.
    async fn is_unchanged(&self, version: u64) -> Result<bool, DeliveryError> {
        if self.versions.get(&self.stream).await == Some(version) {
            return Ok(true);
        }
        let head = self.context.store.progress().head;
        let newer = self.context.store.first_newer_event(&self.stream, version, Position::START).await?;
        if newer.is_none() {
            self.versions.insert(self.stream.clone(), version, head);
        }
        Ok(newer.is_none())
    }

    /// Delivers the events of a page. A page that has become stale is left, to be read again from the cursor.
    async fn deliver_page(
        &mut self,
        webhook: &ActiveWebhook,
        url: &WebhookUrl,
        page: &Page,
        is_replay: bool,
        writer: &mut CursorWriter,
    ) -> Result<Option<LoopExit>, DeliveryError> {
        let (read_at, mut owner_checked) = (Instant::now(), None);
        let size = webhook.batch.map_or(1, |batch| usize::try_from(batch.events()).unwrap_or(1));
        for events in page.events.chunks(size) {
            let (Some(first), Some(last)) = (events.first(), events.last()) else { continue };
            if self.version.has_changed().unwrap_or(true) {
                return Ok(Some(LoopExit::Changed));
            }
            // Since then an event may have been erased, and the webhook changed.
            if read_at.elapsed() > CHECK_VALIDITY {
                return Ok(None);
            }
            let (log, previous) = (self.context.store.identity(), writer.cursor.previous());
            let message = match webhook.batch {
                Some(_) => Message::for_batch(events, log, previous, is_replay)?,
                None => Message::for_event(first, log, previous, is_replay)?,
            };
            let (last, batch) = (last.envelope.position.get(), webhook.batch.map(|_| events.len()));
            let delivery = Delivery { id: self.id, webhook, url, first, last, batch, message, is_replay };
            if let Some(exit) = self.deliver(&delivery, writer, &mut owner_checked).await? {
                return Ok(Some(exit));
            }
            writer.submit_if_due()?;
        }
        writer.cursor.skip_to(page.next.get());
        writer.mark_dirty();
        if !page.events.is_empty() {
            writer.submit()?;
        }
        Ok(None)
    }

    /// Waits for the next event; the exit if the webhook changes before.
    async fn wait(
        &mut self,
        feed: &Subscription,
        writer: &mut CursorWriter,
    ) -> Result<Option<LoopExit>, DeliveryError> {
        writer.submit_if_due()?;
        let after = Position::new(writer.cursor.position);
        let due = writer.submit_due().unwrap_or_else(|| Instant::now() + self.idle_interval());
        let exit = tokio::select! {
            exit = self.changed() => Some(exit),
            () = feed.wait(after) => None,
            () = sleep_until(due) => None,
        };
        feed.stop_waiting(writer);
        Ok(exit)
    }

    fn idle_interval(&self) -> Duration {
        let Range { start, end } = IDLE_INTERVAL_MS;
        Duration::from_millis(start + u64::from_be_bytes(self.context.env.bytes()) % (end - start))
    }

    /// Waits until the webhook changes, or the dispatcher ends.
    async fn changed(&mut self) -> LoopExit {
        if self.version.changed().await.is_ok() { LoopExit::Changed } else { LoopExit::Finished }
    }

    /// Makes attempts until the receiver acknowledges the event, or the batch.
    async fn deliver(
        &mut self,
        delivery: &Delivery<'_>,
        writer: &mut CursorWriter,
        owner_checked: &mut Option<Instant>,
    ) -> Result<Option<LoopExit>, DeliveryError> {
        let (owner, position) = (delivery.webhook.owner, delivery.first.envelope.position.get());
        let remaining = remaining_delay(&writer.cursor, position, self.context.env.now());
        let mut retry_at = remaining.map(|remaining| Instant::now() + remaining);
        loop {
            if let Some(retry_at) = retry_at {
                writer.submit()?;
                tokio::select! {
                    exit = self.changed() => return Ok(Some(exit)),
                    () = sleep_until(retry_at) => {}
                }
            }
            // Read after the page, and missing no event of the owner: no event is sent that follows the loss
            // of the owner's authorization. It does not matter how far the read model is otherwise.
            if owner_checked.is_none_or(|at| at.elapsed() > CHECK_VALIDITY) {
                match self.context.may_own(owner).await? {
                    Some(true) => *owner_checked = Some(Instant::now()),
                    Some(false) => {
                        return self
                            .suspend(delivery.webhook, writer, SuspensionReason::Owner)
                            .await
                            .map(Some);
                    }
                    None if self.context.delete_if_orphaned(owner, self.id).await? => {
                        return Ok(Some(LoopExit::Changed));
                    }
                    None => return Err(DeliveryError::OwnerMissing),
                }
            }
            let number = writer.cursor.failing_at(position).map_or(0, |failing| failing.failures) + 1;
            let Some(failed) = self.context.attempt(&self.sender, delivery, number, writer).await? else {
                writer.cursor.mark_delivered(delivery.last);
                self.state.set(DeliveryState::Active);
                return Ok(None);
            };
            self.state.set(DeliveryState::Failing);
            let is_gone = failed.is_gone;
            let (jitter, now) = (u32::from_be_bytes(self.context.env.bytes()), self.context.env.now());
            let (retried_for, delay) = schedule_retry(&mut writer.cursor, position, failed, jitter, now);
            if is_gone {
                return self.suspend(delivery.webhook, writer, SuspensionReason::Gone).await.map(Some);
            }
            if retried_for >= GIVE_UP_AFTER {
                return self.suspend(delivery.webhook, writer, SuspensionReason::Failing).await.map(Some);
            }
            retry_at = Some(Instant::now() + delay);
        }
    }

    /// Suspends the webhook: it gets no delivery until it is resumed. If it was resumed since `webhook` was
    /// read, as during a long attempt, delivery continues.
    async fn suspend(
        &self,
        webhook: &ActiveWebhook,
        writer: &mut CursorWriter,
        reason: SuspensionReason,
    ) -> Result<LoopExit, DeliveryError> {
        let position = writer.cursor.position;
        writer.mark_dirty();
        writer.flush().await?;
        let command = WebhookCommand::Suspend { reason, position, resumed: webhook.resumed };
        let after = self.context.commands.execute(&self.context.command_context(), self.id, &command).await?;
        if after.webhook.is_some_and(|webhook| webhook.suspended.is_none()) {
            return Ok(LoopExit::Changed);
        }
        tracing::error!(
            webhook = %self.id, position, reason = reason.as_str(),
            "webhook suspended: no deliveries until it is resumed"
        );
        Ok(LoopExit::Finished)
    }
}
