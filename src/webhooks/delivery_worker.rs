//! Delivers to one webhook: one event after the other, each until the receiver has it. Others are not waited for, and do
//! not wait.

use std::time::Duration;

use domain::{ActiveWebhook, SuspensionReason, WebhookCommand, WebhookId, WebhookRejection, WebhookUrl};
use jiff::SignedDuration;
use store::{EventQuery, PersonalData, Position, StoreError, StoredEvent, StreamId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::attempt::Delivery;
use super::delivery_context::DeliveryContext;
use super::delivery_cursor::{CursorConflict, CursorWriter, FailingDelivery};
use super::message::Message;
use super::retry_policy::{GIVE_UP_AFTER, MAX_DELAY, retry_delay};
use super::sender::{SendError, WebhookSender};
use crate::command::CommandError;
use crate::query::QueryError;

/// Events read at once.
const PAGE_SIZE: usize = 50;
/// The pause after something of our own went wrong.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// Events that come within so long are read together.
const COALESCE_DELAY: Duration = Duration::from_millis(20);
/// How long it is taken for granted that the owner may still be sent events.
const CHECK_VALIDITY: Duration = Duration::from_secs(1);
/// The longest wait for news that may have got lost.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// How long there is to write down what was delivered, at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Delivers to one webhook.
pub(super) struct DeliveryWorker {
    pub(super) id: WebhookId,
    pub(super) stream: StreamId,
    pub(super) context: DeliveryContext,
    pub(super) sender: WebhookSender,
    /// The version of the webhook, as the rows have it.
    pub(super) version: watch::Receiver<u64>,
    pub(super) stop: CancellationToken,
}

/// Why the worker does not go on as before.
enum LoopExit {
    /// The webhook has changed.
    Changed,
    /// There is nothing to deliver any more, or somebody else does.
    Finished,
}

/// What went wrong on our side.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("its owner is not in the read model `users`, and was not erased: rebuild that")]
    NoOwner,
    #[error("an event cannot be rendered: {0}")]
    Message(#[from] serde_json::Error),
}

impl DeliveryWorker {
    /// Delivers until there is nothing to deliver any more, or it is stopped.
    pub(super) async fn run(mut self) {
        loop {
            match self.deliver_until_changed().await {
                Ok(LoopExit::Changed) => {}
                Ok(LoopExit::Finished) => return,
                Err(error) => {
                    tracing::warn!(webhook = %self.id, error = %error, "a webhook cannot be delivered now; trying again");
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = sleep(ERROR_PAUSE) => {}
                    }
                }
            }
        }
    }

    /// Delivers until the webhook changes.
    async fn deliver_until_changed(&mut self) -> Result<LoopExit, DeliveryError> {
        self.version.mark_unchanged();
        let (webhook, version) = match self.context.commands.state(self.id).await {
            Ok(state) => (state.webhook, state.version),
            // The rows are not what the log says.
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
        let mut cursor_writer =
            CursorWriter::open(&self.context.deliveries, self.stream.clone(), &webhook).await?;
        if cursor_writer.cursor.resumed != webhook.resumed {
            cursor_writer.cursor.resumed = webhook.resumed;
            // What failed before is tried anew, also what waits behind a replay.
            (*cursor_writer.cursor.failing_mut(), cursor_writer.cursor.failing) = (None, None);
            cursor_writer.mark_dirty();
        }
        let stop = self.stop.clone();
        let exit = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(LoopExit::Finished),
            exit = Box::pin(self.deliver_pages(&webhook, version, url, &mut cursor_writer)) => exit,
        };
        // What was delivered is not delivered again only because the node stops.
        match timeout(FLUSH_TIMEOUT, cursor_writer.flush()).await {
            Ok(Ok(Err(CursorConflict))) => Ok(LoopExit::Finished),
            Ok(Err(error)) => exit.and(Err(error.into())),
            Ok(Ok(Ok(()))) | Err(_) => exit,
        }
    }

    async fn deliver_pages(
        &mut self,
        webhook: &ActiveWebhook,
        version: u64,
        url: &WebhookUrl,
        cursor_writer: &mut CursorWriter,
    ) -> Result<LoopExit, DeliveryError> {
        'pages: loop {
            let head = self.context.store.progress().head.get();
            let replay = cursor_writer.cursor.begin_replay(webhook);
            let (after, until) = replay.unwrap_or((cursor_writer.cursor.position, head));
            if after >= until {
                if replay.is_some() {
                    cursor_writer.cursor.end_replay();
                    cursor_writer.mark_dirty();
                } else if let Some(exit) = self.wait(cursor_writer, head).await? {
                    return Ok(exit);
                }
                continue;
            }
            let query = EventQuery {
                after: Position::new(after),
                until: Some(Position::new(until)),
                limit: PAGE_SIZE,
                types: webhook.types.clone(),
                ..EventQuery::default()
            };
            let mut page = self.context.store.page(&query).await?;
            let mut owner_checked: Option<Instant> = None;
            if !page.events.is_empty() {
                // None of it is ever sent, and an event may wait here for days.
                page.events.iter_mut().for_each(redact);
                // Nobody is told what happened after they had lost the right to know.
                self.context.users.wait_for_position(page.next).await?;
                // Nothing that happened after it was deleted, or changed, is delivered as if it had not been.
                if self.context.store.first_after_version(&self.stream, version).await?.is_some() {
                    return Ok(LoopExit::Changed);
                }
            }
            let read = Instant::now();
            for event in &page.events {
                if self.version.has_changed().unwrap_or(true) {
                    return Ok(LoopExit::Changed);
                }
                // What was read long ago may have been erased since, and the webhook changed.
                if read.elapsed() > CHECK_VALIDITY {
                    continue 'pages;
                }
                let previous = cursor_writer
                    .cursor
                    .replay
                    .as_ref()
                    .map_or(cursor_writer.cursor.previous, |replay| replay.previous);
                let message =
                    Message::for_event(event, self.context.store.log_id(), previous, replay.is_some())?;
                let delivery = Delivery { url, event, message, replay: replay.is_some() };
                if let Some(exit) =
                    self.deliver_event(webhook, &delivery, cursor_writer, &mut owner_checked).await?
                {
                    return Ok(exit);
                }
                if let Err(CursorConflict) = cursor_writer.flush_if_due().await? {
                    return Ok(LoopExit::Finished);
                }
            }
            cursor_writer.cursor.skip_to(page.next.get());
            cursor_writer.mark_dirty();
            if !page.events.is_empty()
                && let Err(CursorConflict) = cursor_writer.flush().await?
            {
                return Ok(LoopExit::Finished);
            }
        }
    }

    /// Until there is more to deliver, or the webhook has changed.
    async fn wait(
        &mut self,
        cursor_writer: &mut CursorWriter,
        head: u64,
    ) -> Result<Option<LoopExit>, DeliveryError> {
        if let Err(CursorConflict) = cursor_writer.flush_if_due().await? {
            return Ok(Some(LoopExit::Finished));
        }
        let mut updates = self.context.store.watch_progress();
        let due = cursor_writer.flush_due().unwrap_or_else(|| Instant::now() + MAX_WAIT);
        tokio::select! {
            changed = self.version.changed() => {
                return Ok(Some(if changed.is_ok() { LoopExit::Changed } else { LoopExit::Finished }));
            }
            news = updates.wait_for(|progress| progress.head.get() > head) => {
                if news.is_err() {
                    // The store has stopped.
                    return Ok(Some(LoopExit::Finished));
                }
            }
            () = sleep_until(due) => {}
        }
        sleep(COALESCE_DELAY).await;
        Ok(None)
    }

    /// Tries until the receiver has the event.
    async fn deliver_event(
        &mut self,
        webhook: &ActiveWebhook,
        delivery: &Delivery<'_>,
        cursor_writer: &mut CursorWriter,
        owner_checked: &mut Option<Instant>,
    ) -> Result<Option<LoopExit>, DeliveryError> {
        let position = delivery.event.envelope.position.get();
        let mut again = self.remaining_pause(cursor_writer, position);
        loop {
            if let Some(again) = again {
                if let Err(CursorConflict) = cursor_writer.flush().await? {
                    return Ok(Some(LoopExit::Finished));
                }
                tokio::select! {
                    changed = self.version.changed() => {
                        return Ok(Some(if changed.is_ok() { LoopExit::Changed } else { LoopExit::Finished }));
                    }
                    () = sleep_until(again) => {}
                }
            }
            if owner_checked.is_none_or(|at| at.elapsed() > CHECK_VALIDITY) {
                match self.context.may_own(webhook.owner).await? {
                    Some(true) => *owner_checked = Some(Instant::now()),
                    Some(false) => {
                        return self.suspend(cursor_writer, SuspensionReason::Owner).await.map(Some);
                    }
                    None if self.context.delete_if_orphaned(webhook.owner, self.id).await? => {
                        return Ok(Some(LoopExit::Changed));
                    }
                    None => return Err(DeliveryError::NoOwner),
                }
            }
            let Some(failed) = self.attempt(webhook, delivery, cursor_writer).await? else {
                cursor_writer.cursor.mark_delivered(position);
                return Ok(None);
            };
            let (failures, since) = match cursor_writer.cursor.failing() {
                Some(failing) if failing.position == position => (failing.failures + 1, failing.since),
                _ => (1, failed.started_at),
            };
            let jitter = u32::from_be_bytes(self.context.env.bytes());
            let pause = retry_delay(failures, jitter, failed.retry_after);
            let now = self.context.env.now();
            let next = now + SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
            let error = failed.error;
            *cursor_writer.cursor.failing_mut() =
                Some(FailingDelivery { position, since, failures, again: next, error });
            if failed.is_gone {
                return self.suspend(cursor_writer, SuspensionReason::Gone).await.map(Some);
            }
            if now.duration_since(since).unsigned_abs() >= GIVE_UP_AFTER {
                return self.suspend(cursor_writer, SuspensionReason::Failing).await.map(Some);
            }
            again = Some(Instant::now() + pause);
        }
    }

    /// When an event that failed before, maybe on another node, is to be tried again.
    fn remaining_pause(&self, cursor_writer: &CursorWriter, position: u64) -> Option<Instant> {
        let failing = cursor_writer.cursor.failing().filter(|failing| failing.position == position)?;
        let left = failing.again.duration_since(self.context.env.now());
        let left = Duration::try_from(left).unwrap_or_default().min(MAX_DELAY);
        Some(Instant::now() + left)
    }

    /// Sends nothing any more until somebody resumes it.
    async fn suspend(
        &self,
        cursor_writer: &mut CursorWriter,
        reason: SuspensionReason,
    ) -> Result<LoopExit, DeliveryError> {
        let position = cursor_writer.cursor.position;
        cursor_writer.mark_dirty();
        if let Err(CursorConflict) = cursor_writer.flush().await? {
            return Ok(LoopExit::Finished);
        }
        self.context
            .commands
            .execute(&self.context.command_context(), self.id, &WebhookCommand::Suspend { reason, position })
            .await?;
        let reason = reason.as_str();
        tracing::error!(
            webhook = %self.id, position, reason,
            "a webhook is suspended: nothing is sent to it any more until it is resumed"
        );
        Ok(LoopExit::Finished)
    }
}

/// That somebody was erased stays; all else that is personal goes.
fn redact(event: &mut StoredEvent) {
    if let PersonalData::Known(personal) = &mut event.personal {
        personal.clear();
    }
}
