//! Delivers to one webhook: one event after the other, each until the receiver has it. Others are not waited for, and do
//! not wait.

use std::time::Duration;

use domain::{ParkReason, Subscription, WebhookCommand, WebhookId, WebhookRefusal, WebhookUrl};
use jiff::SignedDuration;
use store::{EventQuery, PersonalData, Position, Recorded, StoreError, StreamId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::attempt::Parcel;
use super::book::{Book, Failing, Overtaken};
use super::message::Message;
use super::schedule::{LONGEST, PATIENCE, pause};
use super::sender::{SendError, Sender};
use super::tools::Tools;
use crate::command::CommandError;
use crate::query::QueryError;

/// Events read at once.
const BATCH: usize = 50;
/// The pause after something of our own went wrong.
const TROUBLE: Duration = Duration::from_secs(1);
/// Events that come within so long are read together.
const TOGETHER: Duration = Duration::from_millis(20);
/// How long it is taken for granted that the owner may still be sent events.
const TRUSTED: Duration = Duration::from_secs(1);
/// The longest wait for news that may have got lost.
const LOOK: Duration = Duration::from_mins(1);
/// How long there is to write down what was delivered, at the end.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Delivers to one webhook.
pub(super) struct Courier {
    pub(super) id: WebhookId,
    pub(super) stream: StreamId,
    pub(super) tools: Tools,
    pub(super) sender: Sender,
    /// The version of the webhook, as the rows have it.
    pub(super) version: watch::Receiver<u64>,
    pub(super) stop: CancellationToken,
}

/// Why the courier does not go on as before.
enum Turn {
    /// The webhook has changed.
    Changed,
    /// There is nothing to deliver any more, or somebody else does.
    Over,
}

/// What went wrong on our side.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
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

impl Courier {
    /// Delivers until there is nothing to deliver any more, or it is stopped.
    pub(super) async fn run(mut self) {
        loop {
            match self.once().await {
                Ok(Turn::Changed) => {}
                Ok(Turn::Over) => return,
                Err(trouble) => {
                    tracing::warn!(webhook = %self.id, %trouble, "a webhook cannot be delivered now; trying again");
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = sleep(TROUBLE) => {}
                    }
                }
            }
        }
    }

    /// Delivers until the webhook changes.
    async fn once(&mut self) -> Result<Turn, Trouble> {
        self.version.mark_unchanged();
        let (webhook, version) = match self.tools.commands.state(self.id).await {
            Ok(state) => (state.webhook, state.version),
            // The rows are not what the log says.
            Err(CommandError::Webhook(WebhookRefusal::Unknown)) => return Ok(Turn::Over),
            Err(error) => return Err(error.into()),
        };
        let Some(webhook) = webhook else {
            self.tools.deliveries.forget(&self.stream).await?;
            return Ok(Turn::Over);
        };
        let Some(url) = webhook.url.known().filter(|_| webhook.parked.is_none()) else {
            return Ok(Turn::Over);
        };
        let mut book = Book::open(&self.tools.deliveries, self.stream.clone(), &webhook).await?;
        if book.cursor.resumed != webhook.resumed {
            book.cursor.resumed = webhook.resumed;
            // What failed before is tried anew, also what waits behind a replay.
            (*book.cursor.failing_mut(), book.cursor.failing) = (None, None);
            book.moved();
        }
        let stop = self.stop.clone();
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(Turn::Over),
            turn = Box::pin(self.deliver(&webhook, version, url, &mut book)) => turn,
        };
        // What was delivered is not delivered again only because the node stops.
        match timeout(LAST_WORD, book.write()).await {
            Ok(Ok(Err(Overtaken))) => Ok(Turn::Over),
            Ok(Err(error)) => turn.and(Err(error.into())),
            Ok(Ok(Ok(()))) | Err(_) => turn,
        }
    }

    async fn deliver(
        &mut self,
        webhook: &Subscription,
        version: u64,
        url: &WebhookUrl,
        book: &mut Book,
    ) -> Result<Turn, Trouble> {
        'pages: loop {
            let head = self.tools.store.signal().head.get();
            let replay = book.cursor.begin_replay(webhook);
            let (after, until) = replay.unwrap_or((book.cursor.position, head));
            if after >= until {
                if replay.is_some() {
                    book.cursor.end_replay();
                    book.moved();
                } else if let Some(turn) = self.wait(book, head).await? {
                    return Ok(turn);
                }
                continue;
            }
            let query = EventQuery {
                after: Position::new(after),
                until: Some(Position::new(until)),
                limit: BATCH,
                types: webhook.types.clone(),
                ..EventQuery::default()
            };
            let mut page = self.tools.store.page(&query).await?;
            let mut judged: Option<Instant> = None;
            if !page.events.is_empty() {
                // None of it is ever sent, and an event may wait here for days.
                page.events.iter_mut().for_each(forget_personal);
                // Nobody is told what happened after they had lost the right to know.
                self.tools.users.reach(page.next).await?;
                // Nothing that happened after it was deleted, or changed, is delivered as if it had not been.
                if self.tools.store.moved_beyond(&self.stream, version).await?.is_some() {
                    return Ok(Turn::Changed);
                }
            }
            let read = Instant::now();
            for event in &page.events {
                if self.version.has_changed().unwrap_or(true) {
                    return Ok(Turn::Changed);
                }
                // What was read long ago may have been erased since, and the webhook changed.
                if read.elapsed() > TRUSTED {
                    continue 'pages;
                }
                let previous =
                    book.cursor.replay.as_ref().map_or(book.cursor.previous, |replay| replay.previous);
                let message = Message::of(event, self.tools.store.log_id(), previous, replay.is_some())?;
                let parcel = Parcel { url, event, message, replay: replay.is_some() };
                if let Some(turn) = self.hand_over(webhook, &parcel, book, &mut judged).await? {
                    return Ok(turn);
                }
                if let Err(Overtaken) = book.write_if_due().await? {
                    return Ok(Turn::Over);
                }
            }
            book.cursor.look_at(page.next.get());
            book.moved();
            if !page.events.is_empty()
                && let Err(Overtaken) = book.write().await?
            {
                return Ok(Turn::Over);
            }
        }
    }

    /// Until there is more to deliver, or the webhook has changed.
    async fn wait(&mut self, book: &mut Book, head: u64) -> Result<Option<Turn>, Trouble> {
        if let Err(Overtaken) = book.write_if_due().await? {
            return Ok(Some(Turn::Over));
        }
        let mut signals = self.tools.store.signals();
        let due = book.due().unwrap_or_else(|| Instant::now() + LOOK);
        tokio::select! {
            changed = self.version.changed() => {
                return Ok(Some(if changed.is_ok() { Turn::Changed } else { Turn::Over }));
            }
            news = signals.wait_for(|signal| signal.head.get() > head) => {
                if news.is_err() {
                    // The store has stopped.
                    return Ok(Some(Turn::Over));
                }
            }
            () = sleep_until(due) => {}
        }
        sleep(TOGETHER).await;
        Ok(None)
    }

    /// Tries until the receiver has the event.
    async fn hand_over(
        &mut self,
        webhook: &Subscription,
        parcel: &Parcel<'_>,
        book: &mut Book,
        judged: &mut Option<Instant>,
    ) -> Result<Option<Turn>, Trouble> {
        let position = parcel.event.envelope.position.get();
        let mut again = self.pause_left(book, position);
        loop {
            if let Some(again) = again {
                if let Err(Overtaken) = book.write().await? {
                    return Ok(Some(Turn::Over));
                }
                tokio::select! {
                    changed = self.version.changed() => {
                        return Ok(Some(if changed.is_ok() { Turn::Changed } else { Turn::Over }));
                    }
                    () = sleep_until(again) => {}
                }
            }
            if judged.is_none_or(|judged| judged.elapsed() > TRUSTED) {
                match self.tools.may_own(webhook.owner).await? {
                    Some(true) => *judged = Some(Instant::now()),
                    Some(false) => return self.park(book, ParkReason::Owner).await.map(Some),
                    None if self.tools.delete_if_orphaned(webhook.owner, self.id).await? => {
                        return Ok(Some(Turn::Changed));
                    }
                    None => return Err(Trouble::NoOwner),
                }
            }
            let Some(failed) = self.attempt(webhook, parcel, book).await? else {
                book.cursor.delivered(position);
                return Ok(None);
            };
            let (failures, since) = match book.cursor.failing() {
                Some(failing) if failing.position == position => (failing.failures + 1, failing.since),
                _ => (1, failed.begun),
            };
            let chance = u32::from_be_bytes(self.tools.ambient.bytes());
            let pause = pause(failures, chance, failed.retry_after);
            let now = self.tools.ambient.now();
            let next = now + SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
            let error = failed.error;
            *book.cursor.failing_mut() = Some(Failing { position, since, failures, again: next, error });
            if failed.is_gone {
                return self.park(book, ParkReason::Gone).await.map(Some);
            }
            if now.duration_since(since).unsigned_abs() >= PATIENCE {
                return self.park(book, ParkReason::Failing).await.map(Some);
            }
            again = Some(Instant::now() + pause);
        }
    }

    /// When an event that failed before, maybe on another node, is to be tried again.
    fn pause_left(&self, book: &Book, position: u64) -> Option<Instant> {
        let failing = book.cursor.failing().filter(|failing| failing.position == position)?;
        let left = failing.again.duration_since(self.tools.ambient.now());
        let left = Duration::try_from(left).unwrap_or_default().min(LONGEST);
        Some(Instant::now() + left)
    }

    /// Sends nothing any more until somebody resumes it.
    async fn park(&self, book: &mut Book, reason: ParkReason) -> Result<Turn, Trouble> {
        let position = book.cursor.position;
        book.moved();
        if let Err(Overtaken) = book.write().await? {
            return Ok(Turn::Over);
        }
        self.tools
            .commands
            .execute(&self.tools.cause(), self.id, &WebhookCommand::Park { reason, position })
            .await?;
        let reason = reason.as_str();
        tracing::error!(
            webhook = %self.id, position, reason,
            "a webhook is parked: nothing is sent to it any more until it is resumed"
        );
        Ok(Turn::Over)
    }
}

/// That somebody was erased stays; all else that is personal goes.
fn forget_personal(event: &mut Recorded) {
    if let PersonalData::Known(personal) = &mut event.personal {
        personal.clear();
    }
}
