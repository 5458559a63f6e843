//! Reads new events from the log once for all subscribers of this node, while there is at least one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use store::{EventQuery, EventStore, Position, StoreError, StreamId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::event_buffer::{EventBuffer, NextEvents, ReaderView, RenderedEvent};
use crate::query::claim_change;

const BATCH: usize = 512;
/// The shortest time between two reads while events are appended faster: each read wakes every subscriber.
const READ_INTERVAL: Duration = Duration::from_millis(20);
const RETRY_DELAY: Duration = Duration::from_secs(1);

pub(crate) struct Broadcaster {
    store: EventStore,
    readers: Mutex<Option<ActiveBroadcast>>,
}

/// The running broadcast, while there are subscribers.
struct ActiveBroadcast {
    count: usize,
    shared: Arc<Shared>,
    /// Aborted when the last subscriber leaves.
    _reader_task: AbortOnDropHandle<()>,
}

/// Shared by the subscribers. Created for the first and dropped with the last, because the buffer must not
/// survive without the task that redacts erased events in it.
struct Shared {
    store: EventStore,
    buffer: RwLock<EventBuffer>,
    /// Notified when the buffer changes; closed when the broadcast task ends.
    moved: watch::Receiver<()>,
}

/// Why events were not read or not rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    #[error(transparent)]
    Unreadable(#[from] StoreError),
    #[error(transparent)]
    Unrenderable(#[from] serde_json::Error),
}

impl FeedError {
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreadable(error) if error.is_transient())
    }
}

impl Broadcaster {
    pub(crate) fn new(store: EventStore) -> Arc<Self> {
        Arc::new(Self { store, readers: Mutex::default() })
    }

    /// Keeps the broadcast running until the subscription is dropped.
    pub(crate) fn subscribe(self: &Arc<Self>) -> BroadcastSubscription {
        let mut readers = self.readers();
        let readers = readers.get_or_insert_with(|| ActiveBroadcast::of(&self.store));
        readers.count += 1;
        let shared = Arc::clone(&readers.shared);
        BroadcastSubscription { broadcaster: Arc::clone(self), moved: shared.moved.clone(), shared }
    }

    fn unsubscribe(&self) {
        let mut readers = self.readers();
        if let Some(some) = readers.as_mut() {
            some.count -= 1;
            if some.count == 0 {
                *readers = None;
            }
        }
    }

    fn readers(&self) -> MutexGuard<'_, Option<ActiveBroadcast>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActiveBroadcast {
    fn of(store: &EventStore) -> Self {
        let (notifier, moved) = watch::channel(());
        let shared = Arc::new(Shared { store: store.clone(), buffer: RwLock::default(), moved });
        let reading = Arc::clone(&shared);
        // The task owns the notifier, so that its end closes the channel.
        let reading = tokio::spawn(async move { reading.run(&notifier).await });
        Self { count: 0, shared, _reader_task: AbortOnDropHandle::new(reading) }
    }
}

impl Shared {
    /// Runs until aborted. Errors are retried; subscribers wait meanwhile.
    async fn run(&self, notifier: &watch::Sender<()>) {
        let mut end = self.restart_at_head(notifier);
        loop {
            let error = self.read_until_error(&mut end, notifier).await;
            if error.is_transient() {
                tracing::warn!(%error, "event feed: log not readable; retrying");
                sleep(RETRY_DELAY).await;
                continue;
            }
            tracing::error!(%error, "event feed: events not readable or not renderable");
            sleep(RETRY_DELAY).await;
            // Subscribers now read the skipped events from the log themselves, and report the error.
            end = self.restart_at_head(notifier);
        }
    }

    /// Empties the buffer and continues after the head.
    fn restart_at_head(&self, notifier: &watch::Sender<()>) -> Position {
        let end = self.store.progress().head;
        *self.buffer_mut() = EventBuffer::after(end);
        notifier.send_replace(());
        end
    }

    /// Reads the events after `end` as they are committed, until an error occurs.
    async fn read_until_error(&self, end: &mut Position, notifier: &watch::Sender<()>) -> FeedError {
        let (mut updates, mut next_read) = (self.store.watch_progress(), Instant::now());
        loop {
            let after = *end;
            if updates.wait_for(|progress| progress.head > after).await.is_err() {
                // The store has stopped.
                return std::future::pending().await;
            }
            sleep_until(next_read).await;
            next_read = Instant::now() + READ_INTERVAL;
            match self.read_batch(after, self.store.progress().head).await {
                Ok(read) => *end = read,
                Err(broken) => return broken,
            }
            notifier.send_replace(());
        }
    }

    async fn read_batch(&self, after: Position, head: Position) -> Result<Position, FeedError> {
        let query = EventQuery { after, until: Some(head), limit: BATCH, ..EventQuery::default() };
        let page = self.store.page(&query).await?;
        let render = |event| RenderedEvent::new(event, self.store.identity());
        let rendered = page.events.iter().map(render).collect::<Result<Vec<_>, _>>()?;
        for event in &page.events {
            // An undecodable event is treated as an erasure.
            if claim_change(event).map_or(true, |change| change.erases) {
                self.redact_erased(&event.envelope.stream).await?;
            }
        }
        self.buffer_mut().push(rendered);
        Ok(page.next)
    }

    /// Renders the buffered events of an erased user again, without personal values, before the erasure is
    /// published.
    async fn redact_erased(&self, stream: &StreamId) -> Result<(), FeedError> {
        let positions = self.buffer().positions_of(stream);
        for position in positions {
            let found = self.store.read(&EventQuery::at(position)).await?;
            for event in &found {
                let rendered = RenderedEvent::new(event, self.store.identity())?;
                self.buffer_mut().replace(rendered);
            }
        }
        Ok(())
    }

    fn buffer(&self) -> RwLockReadGuard<'_, EventBuffer> {
        self.buffer.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffer_mut(&self) -> RwLockWriteGuard<'_, EventBuffer> {
        self.buffer.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the broadcast running.
pub(crate) struct BroadcastSubscription {
    broadcaster: Arc<Broadcaster>,
    shared: Arc<Shared>,
    moved: watch::Receiver<()>,
}

impl BroadcastSubscription {
    pub(crate) fn next(&self, after: Position, view: &ReaderView<'_>) -> NextEvents {
        self.shared.buffer().next(after, view)
    }

    pub(crate) fn is_caught_up(&self, at: Position) -> bool {
        self.shared.buffer().is_caught_up(at)
    }

    /// Waits until there may be more events. Fails if the broadcast task has ended unexpectedly.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.moved.changed().await
    }
}

impl Drop for BroadcastSubscription {
    fn drop(&mut self) {
        self.broadcaster.unsubscribe();
    }
}
