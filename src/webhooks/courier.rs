//! Delivers to one webhook: one event after the other, each until the receiver has it. Others are not waited for, and do
//! not wait.

use std::time::Duration;

use domain::{ParkReason, Replay, Subscription, WebhookCommand, WebhookId, WebhookRefusal, WebhookUrl};
use jiff::SignedDuration;
use store::{EventQuery, Position, Recorded, StoreError, StreamId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::book::{Book, Failing, Overtaken, Replaying, Report};
use super::message::Message;
use super::schedule::{LONGEST, PATIENCE, pause};
use super::sender::{Answer, Sender};
use super::tools::{Tools, milliseconds, outcome};
use crate::command::{Cause, CommandError};
use crate::query::QueryError;

/// Events read at once.
const BATCH: usize = 50;
/// The pause after something of our own went wrong.
const TROUBLE: Duration = Duration::from_secs(1);
/// Events that come within so long are read together.
const TOGETHER: Duration = Duration::from_millis(20);
/// How long it is taken for granted that the owner may still be sent events.
const TRUSTED: Duration = Duration::from_secs(1);
/// The longest sleep without looking at the clock of the service.
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
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("an event cannot be rendered: {0}")]
    Message(#[from] serde_json::Error),
}

/// An event on its way.
struct Parcel<'a> {
    url: &'a WebhookUrl,
    event: &'a Recorded,
    message: Message,
    replay: bool,
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
            Err(CommandError::Webhook(WebhookRefusal::Unknown)) => (None, 0),
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
            (book.cursor.resumed, book.cursor.failing) = (webhook.resumed, None);
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
            Ok(Ok(Ok(()))) => turn,
            Ok(Ok(Err(Overtaken))) => Ok(Turn::Over),
            Ok(Err(error)) => turn.and(Err(error.into())),
            Err(_) => turn,
        }
    }

    async fn deliver(
        &mut self,
        webhook: &Subscription,
        version: u64,
        url: &WebhookUrl,
        book: &mut Book,
    ) -> Result<Turn, Trouble> {
        let mut judged: Option<Instant> = None;
        loop {
            let head = self.tools.store.signal().head.get();
            let replay = begin_replay(webhook, book);
            let (after, until) =
                replay.map_or((book.cursor.position, head), |(at, until)| (at.position, until));
            if after >= until {
                if replay.is_some() {
                    end_replay(book);
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
            let page = self.tools.store.page(&query).await?;
            if !page.events.is_empty() {
                // Nobody is told what happened after they had lost the right to know.
                drop(self.tools.users.reach(page.next).await);
                judged = None;
                // Nothing that happened after it was deleted, or changed, is delivered as if it had not been.
                if self.tools.store.moved_beyond(&self.stream, version).await?.is_some() {
                    return Ok(Turn::Changed);
                }
            }
            for event in &page.events {
                let previous = book.cursor.replay.map_or(book.cursor.previous, |replay| replay.previous);
                let message = Message::of(event, self.tools.store.log_id(), previous, replay.is_some())?;
                let parcel = Parcel { url, event, message, replay: replay.is_some() };
                if let Some(turn) = self.hand_over(webhook, &parcel, book, &mut judged).await? {
                    return Ok(turn);
                }
                if let Err(Overtaken) = book.write_if_due().await? {
                    return Ok(Turn::Over);
                }
            }
            look_at(book, page.next.get());
            if !page.events.is_empty()
                && let Err(Overtaken) = book.write().await?
            {
                return Ok(Turn::Over);
            }
            if self.version.has_changed().unwrap_or(false) {
                return Ok(Turn::Changed);
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
                    None => return self.delete().await.map(Some),
                }
            }
            let Some(failed) = self.attempt(webhook, parcel, book).await else {
                delivered(book, position);
                return Ok(None);
            };
            let (failures, since) = match &book.cursor.failing {
                Some(failing) if failing.position == position => (failing.failures + 1, failing.since),
                _ => (1, failed.begun),
            };
            let chance = u32::from_be_bytes(self.tools.ambient.bytes());
            let pause = pause(failures, chance, failed.retry_after);
            let now = self.tools.ambient.now();
            let next = now + SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
            let error = failed.error;
            book.cursor.failing = Some(Failing { position, since, failures, again: next, error });
            if failed.is_gone {
                return self.park(book, ParkReason::Gone).await.map(Some);
            }
            if now.duration_since(since).unsigned_abs() >= PATIENCE {
                return self.park(book, ParkReason::Failing).await.map(Some);
            }
            if let Err(Overtaken) = book.write().await? {
                return Ok(Some(Turn::Over));
            }
            again = Some(Instant::now() + pause);
        }
    }

    /// When an event that failed before, maybe on another node, is to be tried again.
    fn pause_left(&self, book: &Book, position: u64) -> Option<Instant> {
        let failing = book.cursor.failing.as_ref().filter(|failing| failing.position == position)?;
        let left = failing.again.duration_since(self.tools.ambient.now());
        let left = Duration::try_from(left).unwrap_or_default().min(LONGEST);
        Some(Instant::now() + left)
    }

    /// One attempt; nothing if the receiver has the event now.
    async fn attempt(&self, webhook: &Subscription, parcel: &Parcel<'_>, book: &mut Book) -> Option<Failed> {
        let Parcel { url, event, message, replay } = parcel;
        let (begun, now) = (Instant::now(), self.tools.ambient.now());
        let answer = self.sender.send(url, message.headers(webhook, now), message.body.clone()).await;
        let (status, error) = outcome(answer.map(|answer: Answer| answer.status));
        let envelope = &event.envelope;
        let position = envelope.position.get();
        let before = book.cursor.failing.as_ref().filter(|failing| failing.position == position);
        book.note(&Report {
            at: now,
            position,
            event: message.id.clone(),
            event_type: envelope.event_type.clone(),
            attempt: before.map_or(0, |failing| failing.failures) + 1,
            replay: *replay,
            delivered: error.is_none(),
            status,
            error: error.clone(),
            latency_ms: milliseconds(begun),
        });
        let Some(error) = error else {
            self.tools.counts.delivered();
            return None;
        };
        self.tools.counts.failed();
        tracing::info!(webhook = %self.id, position, error, "an event was not delivered");
        let retry_after = answer.ok().and_then(|answer| answer.retry_after);
        Some(Failed { begun: now, error, retry_after, is_gone: status == Some(410) })
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
            .execute(&self.cause(), self.id, &WebhookCommand::Park { reason, position })
            .await?;
        let reason = reason.as_str();
        tracing::error!(
            webhook = %self.id, position, reason,
            "a webhook is parked: nothing is sent to it any more until it is resumed"
        );
        Ok(Turn::Over)
    }

    /// The owner was erased, and with them goes what was theirs.
    async fn delete(&self) -> Result<Turn, Trouble> {
        self.tools.commands.execute(&self.cause(), self.id, &WebhookCommand::Delete).await?;
        tracing::info!(webhook = %self.id, "a webhook was deleted: its owner is gone");
        Ok(Turn::Changed)
    }

    fn cause(&self) -> Cause {
        Cause::new("system", format!("webhook-{}", self.tools.ambient.uuid().hyphenated()))
    }
}

/// An attempt that failed.
struct Failed {
    begun: jiff::Timestamp,
    error: String,
    retry_after: Option<Duration>,
    is_gone: bool,
}

/// The next replay: how far it is, and where it ends. What comes after the cursor is delivered anyway.
fn begin_replay(webhook: &Subscription, book: &mut Book) -> Option<(Replaying, u64)> {
    let Replay { from, to } = *webhook.replays.get(book.cursor.replayed)?;
    let before = from.saturating_sub(1);
    let begun = Replaying { position: before, previous: before };
    let replay = *book.cursor.replay.get_or_insert(begun);
    Some((replay, to.min(book.cursor.position)))
}

fn end_replay(book: &mut Book) {
    book.cursor.replayed += 1;
    book.cursor.replay = None;
    book.moved();
}

fn delivered(book: &mut Book, position: u64) {
    book.cursor.failing = None;
    if let Some(replay) = &mut book.cursor.replay {
        *replay = Replaying { position, previous: position };
    } else {
        (book.cursor.position, book.cursor.previous) = (position, position);
    }
}

/// Whatever lies before that position was delivered or is not wanted.
fn look_at(book: &mut Book, position: u64) {
    if let Some(replay) = &mut book.cursor.replay {
        replay.position = position;
    } else {
        book.cursor.position = position;
    }
    book.moved();
}
