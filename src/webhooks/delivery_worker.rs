//! Delivers the events of the log to one webhook endpoint, in order, each retried until the receiver
//! acknowledges it.
//!
//! The log is the outbox: a worker reads it from the delivery cursor of its webhook, so appending an event
//! involves no webhook. Each webhook has its own worker, so a slow or failing endpoint delays no other. One
//! attempt is made in `attempt`; which node runs the workers is decided in `dispatcher`.

use std::time::Duration;

use domain::{
    ActiveWebhook, SuspensionReason, WebhookCommand, WebhookId, WebhookRejection, WebhookUrl,
    stored_event_types,
};
use jiff::SignedDuration;
use store::{EventQuery, Page, PersonalData, Position, StoreError, StoredEvent, StreamId, WriteError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::attempt::{Delivery, FailedAttempt};
use super::delivery_context::DeliveryContext;
use super::delivery_cursor::{CursorWriter, FailingDelivery};
use super::message::Message;
use super::retry_policy::{GIVE_UP_AFTER, MAX_DELAY, retry_delay};
use super::sender::{SendError, WebhookSender};
use crate::command::CommandError;
use crate::query::QueryError;

/// Events read at once.
const PAGE_SIZE: usize = 50;
/// The pause after an error of this node or its database.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// Events appended within this time are read together.
const COALESCE_DELAY: Duration = Duration::from_millis(20);
/// How long a page of events and the check of the owner's authorization remain valid.
const CHECK_VALIDITY: Duration = Duration::from_secs(1);
/// The longest wait for a notification, in case one was lost.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// How long the cursor may take to be flushed when the worker stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Delivers to one webhook.
pub(super) struct DeliveryWorker {
    pub(super) id: WebhookId,
    pub(super) stream: StreamId,
    pub(super) context: DeliveryContext,
    pub(super) sender: WebhookSender,
    /// The version of the webhook in the read model.
    pub(super) version: watch::Receiver<u64>,
    pub(super) stop: CancellationToken,
}

/// Why a delivery loop ended.
enum LoopExit {
    /// The webhook has changed: continue with its new state.
    Changed,
    /// Nothing is left to deliver, or another node delivers.
    Finished,
}

/// An error of this node or its database, not of the receiver.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("the owner is not in the read model `users` although not erased; rebuild `users`")]
    OwnerMissing,
    #[error("event cannot be serialized: {0}")]
    Message(#[from] serde_json::Error),
}

impl DeliveryWorker {
    /// Delivers until nothing is left to deliver, or the worker is stopped.
    pub(super) async fn run(mut self) {
        loop {
            match self.deliver_until_changed().await {
                Ok(LoopExit::Changed) => {}
                Ok(LoopExit::Finished) | Err(DeliveryError::Write(WriteError::Conflict)) => return,
                Err(error) => {
                    tracing::warn!(webhook = %self.id, %error, "webhook worker failed; retrying in 1 s");
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = sleep(ERROR_PAUSE) => {}
                    }
                }
            }
        }
    }

    async fn deliver_until_changed(&mut self) -> Result<LoopExit, DeliveryError> {
        self.version.mark_unchanged();
        let (webhook, version) = match self.context.commands.state(self.id).await {
            Ok(state) => (state.webhook, state.version),
            // The read model lists a webhook that the log does not contain.
            Err(CommandError::WebhookRejected(WebhookRejection::Unknown)) => return Ok(LoopExit::Finished),
            Err(error) => return Err(error.into()),
        };
        let Some(webhook) = webhook else {
            self.context.deliveries.forget(&self.stream).await?;
            return Ok(LoopExit::Finished);
        };
        let Some(url) = webhook.url.known().filter(|_| webhook.suspended.is_none()) else {
            return Ok(LoopExit::Finished);
        };
        let mut writer = CursorWriter::open(&self.context.deliveries, self.stream.clone(), &webhook).await?;
        if writer.cursor.resumed != webhook.resumed {
            writer.cursor.resumed = webhook.resumed;
            // Resuming starts the retries over, also of the event that waits behind a replay.
            (*writer.cursor.failing_mut(), writer.cursor.failing) = (None, None);
            writer.mark_dirty();
        }
        let stop = self.stop.clone();
        let exit = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(LoopExit::Finished),
            exit = Box::pin(self.deliver_pages(&webhook, version, url, &mut writer)) => exit,
        };
        // A graceful stop repeats no delivery.
        match timeout(FLUSH_TIMEOUT, writer.flush()).await {
            Ok(Err(conflict @ WriteError::Conflict)) => Err(conflict.into()),
            Ok(Err(error)) => exit.and(Err(error.into())),
            Ok(Ok(())) | Err(_) => exit,
        }
    }

    async fn deliver_pages(
        &mut self,
        webhook: &ActiveWebhook,
        version: u64,
        url: &WebhookUrl,
        writer: &mut CursorWriter,
    ) -> Result<LoopExit, DeliveryError> {
        loop {
            let head = self.context.store.progress().head.get();
            let replay = writer.cursor.begin_replay(webhook);
            let (after, until) = replay.unwrap_or((writer.cursor.position, head));
            if after >= until {
                if replay.is_some() {
                    writer.cursor.end_replay();
                    writer.mark_dirty();
                } else if let Some(exit) = self.wait(writer, head).await? {
                    return Ok(exit);
                }
                continue;
            }
            let query = EventQuery {
                after: Position::new(after),
                until: Some(Position::new(until)),
                limit: PAGE_SIZE,
                types: stored_event_types(&webhook.types),
                ..EventQuery::default()
            };
            let mut page = self.context.store.page(&query).await?;
            if !page.events.is_empty() {
                // Personal values are never sent, and an event may be retried for days.
                page.events.iter_mut().for_each(redact);
                // No event is sent that follows a change or the deletion of the webhook.
                let newer = self.context.store.first_newer_event(&self.stream, version, Position::START);
                if newer.await?.is_some() {
                    return Ok(LoopExit::Changed);
                }
            }
            if let Some(exit) = self.deliver_page(webhook, url, &page, replay.is_some(), writer).await? {
                return Ok(exit);
            }
        }
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
        for event in &page.events {
            if self.version.has_changed().unwrap_or(true) {
                return Ok(Some(LoopExit::Changed));
            }
            // Since then an event may have been erased, and the webhook changed.
            if read_at.elapsed() > CHECK_VALIDITY {
                return Ok(None);
            }
            let message =
                Message::for_event(event, self.context.store.log_id(), writer.cursor.previous(), is_replay)?;
            let delivery = Delivery { id: self.id, webhook, url, event, message, is_replay };
            if let Some(exit) = self.deliver_event(&delivery, writer, &mut owner_checked).await? {
                return Ok(Some(exit));
            }
            writer.flush_if_due().await?;
        }
        writer.cursor.skip_to(page.next.get());
        writer.mark_dirty();
        if !page.events.is_empty() {
            writer.flush().await?;
        }
        Ok(None)
    }

    /// Waits for the next event; the exit if the webhook changes before.
    async fn wait(
        &mut self,
        writer: &mut CursorWriter,
        head: u64,
    ) -> Result<Option<LoopExit>, DeliveryError> {
        writer.flush_if_due().await?;
        let mut updates = self.context.store.watch_progress();
        let due = writer.flush_due().unwrap_or_else(|| Instant::now() + MAX_WAIT);
        tokio::select! {
            exit = self.changed() => return Ok(Some(exit)),
            update = updates.wait_for(|progress| progress.head.get() > head) => {
                if update.is_err() {
                    // The store has stopped.
                    return Ok(Some(LoopExit::Finished));
                }
            }
            () = sleep_until(due) => {}
        }
        sleep(COALESCE_DELAY).await;
        Ok(None)
    }

    /// Waits until the webhook changes, or the dispatcher ends.
    async fn changed(&mut self) -> LoopExit {
        if self.version.changed().await.is_ok() { LoopExit::Changed } else { LoopExit::Finished }
    }

    /// Makes attempts until the receiver acknowledges the event.
    async fn deliver_event(
        &mut self,
        delivery: &Delivery<'_>,
        writer: &mut CursorWriter,
        owner_checked: &mut Option<Instant>,
    ) -> Result<Option<LoopExit>, DeliveryError> {
        let (owner, position) = (delivery.webhook.owner, delivery.event.envelope.position.get());
        let mut retry_at = self.remaining_delay(writer, position);
        loop {
            if let Some(retry_at) = retry_at {
                writer.flush().await?;
                tokio::select! {
                    exit = self.changed() => return Ok(Some(exit)),
                    () = sleep_until(retry_at) => {}
                }
            }
            // Read after the page, and missing no event of the owner: no event is sent that follows the loss of
            // the owner's authorization. It does not matter how far the read model is otherwise.
            if owner_checked.is_none_or(|at| at.elapsed() > CHECK_VALIDITY) {
                match self.context.may_own(owner).await? {
                    Some(true) => *owner_checked = Some(Instant::now()),
                    Some(false) => return self.suspend(writer, SuspensionReason::Owner).await.map(Some),
                    None if self.context.delete_if_orphaned(owner, self.id).await? => {
                        return Ok(Some(LoopExit::Changed));
                    }
                    None => return Err(DeliveryError::OwnerMissing),
                }
            }
            let number = writer.cursor.failing_at(position).map_or(0, |failing| failing.failures) + 1;
            let Some(failed) = self.context.attempt(&self.sender, delivery, number, writer).await? else {
                writer.cursor.mark_delivered(position);
                return Ok(None);
            };
            let is_gone = failed.is_gone;
            let (failing_for, delay) = self.schedule_retry(writer, position, failed);
            if is_gone {
                return self.suspend(writer, SuspensionReason::Gone).await.map(Some);
            }
            if failing_for >= GIVE_UP_AFTER {
                return self.suspend(writer, SuspensionReason::Failing).await.map(Some);
            }
            retry_at = Some(Instant::now() + delay);
        }
    }

    /// Records the failure in the cursor: how long the event has been failing, and the delay before the next
    /// attempt.
    fn schedule_retry(
        &self,
        writer: &mut CursorWriter,
        position: u64,
        failed: FailedAttempt,
    ) -> (Duration, Duration) {
        let before = writer.cursor.failing_at(position);
        let (failures, since) =
            before.map_or((1, failed.started_at), |failing| (failing.failures + 1, failing.since));
        let jitter = u32::from_be_bytes(self.context.env.bytes());
        let delay = retry_delay(failures, jitter, failed.retry_after);
        let now = self.context.env.now();
        let next_attempt_at = now + SignedDuration::try_from(delay).unwrap_or(SignedDuration::ZERO);
        *writer.cursor.failing_mut() =
            Some(FailingDelivery { position, since, failures, next_attempt_at, error: failed.error });
        (now.duration_since(since).unsigned_abs(), delay)
    }

    /// When to retry an event that has failed before, possibly on another node.
    fn remaining_delay(&self, writer: &CursorWriter, position: u64) -> Option<Instant> {
        let failing = writer.cursor.failing_at(position)?;
        let remaining = failing.next_attempt_at.duration_since(self.context.env.now());
        Some(Instant::now() + Duration::try_from(remaining).unwrap_or_default().min(MAX_DELAY))
    }

    /// Suspends the webhook: it gets no delivery until it is resumed.
    async fn suspend(
        &self,
        writer: &mut CursorWriter,
        reason: SuspensionReason,
    ) -> Result<LoopExit, DeliveryError> {
        let position = writer.cursor.position;
        writer.mark_dirty();
        writer.flush().await?;
        let command = WebhookCommand::Suspend { reason, position };
        self.context.commands.execute(&self.context.command_context(), self.id, &command).await?;
        tracing::error!(
            webhook = %self.id, position, reason = reason.as_str(),
            "webhook suspended: no deliveries until it is resumed"
        );
        Ok(LoopExit::Finished)
    }
}

/// Removes the personal values; an erasure remains visible.
fn redact(event: &mut StoredEvent) {
    if let PersonalData::Known(personal) = &mut event.personal {
        personal.clear();
    }
}
