//! Reads new events from the log once for all delivery workers of this node. A worker is woken by events of its
//! types only, so that a webhook that wants none of the new events costs neither a read nor a task switch.
//!
//! Events that are older than the buffer are read from the log by the worker that needs them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{ActiveWebhook, WebhookId, is_erasing_event_type, stored_event_types};
use store::{EventQuery, EventStore, Page, Position, StoreError, StoredEvent};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::delivery_cursor::CursorWriter;

/// Events read at once.
const BATCH: usize = 512;
/// Events kept for workers that are behind.
const MAX_EVENTS: usize = 4_096;
/// The shortest time between two reads while events are appended faster.
const READ_INTERVAL: Duration = Duration::from_millis(20);
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The newest events, and the workers that wait for more. Clones share them.
#[derive(Clone)]
pub(super) struct SharedReader {
    shared: Arc<Shared>,
}

struct Shared {
    store: EventStore,
    state: Mutex<State>,
}

struct State {
    /// Consecutive redacted events, the last at `end`.
    events: VecDeque<StoredEvent>,
    /// The last position that was read.
    end: Position,
    /// The last position up to there at which a webhook may have changed.
    last_change: Position,
    waiting: HashMap<WebhookId, Waiting>,
}

/// A worker that has delivered everything up to a position.
struct Waiting {
    /// The types it delivers; all if empty.
    types: Vec<String>,
    /// Nothing that it delivers follows up to here, from where it began to wait.
    position: Position,
    /// Notified once something does.
    wake: Arc<Notify>,
}

/// The place of one worker among those that wait; given up on drop.
pub(super) struct Subscription {
    shared: Arc<Shared>,
    id: WebhookId,
    types: Vec<String>,
    wake: Arc<Notify>,
}

impl SharedReader {
    /// Starts the task that reads, from the head on, until the handle is dropped.
    pub(super) fn start(store: EventStore) -> (Self, AbortOnDropHandle<()>) {
        let end = store.progress().head;
        let state = State { events: VecDeque::new(), end, last_change: end, waiting: HashMap::new() };
        let shared = Arc::new(Shared { store, state: Mutex::new(state) });
        let reading = Arc::clone(&shared);
        (Self { shared }, AbortOnDropHandle::new(tokio::spawn(async move { reading.run().await })))
    }

    /// The position of the last event of a webhook, as far as it has read.
    pub(super) fn last_change(&self) -> Position {
        self.shared.state().last_change
    }

    /// Reads for a worker, with the definition of its webhook.
    pub(super) fn subscribe(&self, id: WebhookId, webhook: &ActiveWebhook) -> Subscription {
        let (shared, types) = (Arc::clone(&self.shared), stored_event_types(&webhook.types));
        Subscription { shared, id, types, wake: Arc::default() }
    }
}

impl Subscription {
    /// The next events to deliver after a position, at most `limit`; [`Page::next`] is `after` if there is nothing
    /// new. From the log if they are not buffered.
    ///
    /// # Errors
    /// [`StoreError`] if the log has to be read and cannot.
    pub(super) async fn page(&self, after: Position, limit: usize) -> Result<Page, StoreError> {
        let end = {
            let state = self.shared.state();
            match state.page(after, &self.types, limit) {
                Some(page) => return Ok(page),
                None => state.end,
            }
        };
        self.log_page(after, end, limit).await
    }

    /// The next events to deliver after a position, up to `until`, read from the log.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub(super) async fn log_page(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let query = EventQuery {
            after,
            until: Some(until),
            limit,
            types: self.types.clone(),
            ..EventQuery::default()
        };
        // Personal values are never sent.
        self.shared.store.redacted_page(&query).await
    }

    /// Waits until there may be an event to deliver after a position. To be followed by
    /// [`Subscription::stop_waiting`], also if it is cancelled.
    pub(super) async fn wait(&self, after: Position) {
        let waiting = Waiting { types: self.types.clone(), position: after, wake: Arc::clone(&self.wake) };
        if self.shared.state().begin_waiting(self.id, waiting) {
            // A notification is kept until it is awaited.
            self.wake.notified().await;
        }
    }

    /// Ends the wait, and moves the cursor past the events that came meanwhile and are not wanted.
    pub(super) fn stop_waiting(&self, writer: &mut CursorWriter) {
        let waiting = self.shared.state().waiting.remove(&self.id);
        if let Some(Waiting { position, .. }) = waiting
            && position.get() > writer.cursor.position
        {
            writer.cursor.skip_to(position.get());
            writer.mark_dirty();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.state().waiting.remove(&self.id);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self) {
        let (mut updates, mut next_read) = (self.store.watch_progress(), Instant::now());
        loop {
            let end = self.state().end;
            if updates.wait_for(|progress| progress.head > end).await.is_err() {
                // The store has stopped.
                return;
            }
            sleep_until(next_read).await;
            next_read = Instant::now() + READ_INTERVAL;
            if let Err(error) = self.read_batch(end).await {
                tracing::warn!(%error, "webhooks: new events not readable; retrying");
                sleep(RETRY_DELAY).await;
                if !error.is_transient() {
                    // The workers that deliver these events read them by themselves, and report the error.
                    self.state().restart(self.store.progress().head);
                }
            }
        }
    }

    async fn read_batch(&self, after: Position) -> Result<(), StoreError> {
        let until = Some(self.store.progress().head);
        let query = EventQuery { after, until, limit: BATCH, ..EventQuery::default() };
        let page = self.store.redacted_page(&query).await?;
        self.state().push(page);
        Ok(())
    }
}

impl State {
    /// `None` if events after that position are not buffered.
    fn page(&self, after: Position, types: &[String], limit: usize) -> Option<Page> {
        if after >= self.end {
            return Some(Page { events: Vec::new(), next: after });
        }
        let first = self.events.front()?.envelope.position;
        let skip = after.next().get().checked_sub(first.get())?;
        let later = self.events.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
        let wanted = later.filter(|event| types.is_empty() || types.contains(&event.envelope.event_type));
        let events: Vec<_> = wanted.take(limit).cloned().collect();
        let next = match events.last() {
            Some(last) if events.len() == limit => last.envelope.position,
            _ => self.end,
        };
        Some(Page { events, next })
    }

    /// Whether the worker has to wait; if not, there are events after its position that it has not read.
    fn begin_waiting(&mut self, id: WebhookId, waiting: Waiting) -> bool {
        let has_to_wait = waiting.position >= self.end;
        if has_to_wait {
            self.waiting.insert(id, waiting);
        }
        has_to_wait
    }

    /// Adds the next events, and wakes the workers that deliver one of them.
    fn push(&mut self, page: Page) {
        let before = self.end;
        self.end = page.next;
        if page.events.iter().any(|event| is_erasing_event_type(&event.envelope.event_type)) {
            // What was buffered of an erased user has to be read again, marked as erased.
            self.events.clear();
        }
        let types: HashSet<&str> =
            page.events.iter().map(|event| event.envelope.event_type.as_str()).collect();
        for waiting in self.waiting.values_mut() {
            let is_wanted = waiting.types.is_empty()
                || waiting.types.iter().any(|wanted| types.contains(wanted.as_str()));
            if is_wanted || waiting.position < before {
                waiting.wake.notify_one();
            } else {
                waiting.position = waiting.position.max(self.end);
            }
        }
        let of_webhook =
            |event: &&StoredEvent| WebhookId::from_stream(event.envelope.stream.as_str()).is_some();
        if let Some(change) = page.events.iter().rev().find(of_webhook) {
            self.last_change = change.envelope.position;
        }
        self.events.extend(page.events);
        let superfluous = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..superfluous);
    }

    /// Continues after the head, without the events before it.
    fn restart(&mut self, head: Position) {
        self.events.clear();
        (self.end, self.last_change) = (head, head);
        self.waiting.values().for_each(|waiting| waiting.wake.notify_one());
    }
}

#[cfg(test)]
mod tests;
