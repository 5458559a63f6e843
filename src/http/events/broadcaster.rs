//! Reads the log as it grows, once for all who follow it on this node, and only while somebody does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use store::{EventQuery, EventStore, Position, StoreError, StreamId};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::event_buffer::{EventBuffer, NextEvents, ReaderView, RenderedEvent};
use crate::query::claim_change;

/// Events read at once.
const BATCH: usize = 256;
/// The pause after the log could not be read.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The log as it grows.
pub(crate) struct Broadcaster {
    store: EventStore,
    readers: Mutex<Option<ActiveBroadcast>>,
}

/// Those who follow now.
struct ActiveBroadcast {
    count: usize,
    shared: Arc<Shared>,
    /// Ends with the last of them.
    _reader_task: AbortOnDropHandle<()>,
}

/// What they share: made for the first, and gone with the last, so that nothing stays in memory that nobody keeps true.
struct Shared {
    store: EventStore,
    buffer: RwLock<EventBuffer>,
    /// Moves whenever the window does; closed once nobody reads on.
    moved: watch::Receiver<()>,
}

/// Nobody reads on: the feed has failed.
pub(super) struct BroadcastEnded;

/// Why the log is not read on for the time being.
enum BroadcastError {
    Unreadable(StoreError),
    Unrenderable(serde_json::Error),
}

impl Broadcaster {
    pub(crate) fn new(store: EventStore) -> Arc<Self> {
        Arc::new(Self { store, readers: Mutex::default() })
    }

    /// Has the log read for as long as the subscription is kept.
    pub(super) fn subscribe(self: &Arc<Self>) -> BroadcastSubscription {
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
        // It owns the notifier: should it fail, those who follow hear of that.
        let reading = tokio::spawn(async move { reading.run(&notifier).await });
        Self { count: 0, shared, _reader_task: AbortOnDropHandle::new(reading) }
    }
}

impl Shared {
    /// Never ends by itself. What cannot be read is tried again: those who follow wait meanwhile, and are told no more than
    /// is certain.
    async fn run(&self, notifier: &watch::Sender<()>) {
        let mut end = self.restart_at_head(notifier);
        loop {
            match self.read_until_error(&mut end, notifier).await {
                BroadcastError::Unreadable(error) if error.is_transient() => {
                    tracing::warn!(%error, "the feed cannot read the log; trying again");
                    sleep(RETRY_DELAY).await;
                    continue;
                }
                BroadcastError::Unreadable(error) => tracing::error!(%error, "the feed cannot read the log"),
                BroadcastError::Unrenderable(error) => {
                    tracing::error!(%error, "the feed cannot show an event")
                }
            }
            sleep(RETRY_DELAY).await;
            // Those who follow look for themselves, and meet the same.
            end = self.restart_at_head(notifier);
        }
    }

    /// Begins with what comes next.
    fn restart_at_head(&self, notifier: &watch::Sender<()>) -> Position {
        let end = self.store.progress().head;
        *self.buffer_mut() = EventBuffer::after(end);
        notifier.send_replace(());
        end
    }

    /// Reads what comes after `end`, until it cannot be read.
    async fn read_until_error(&self, end: &mut Position, notifier: &watch::Sender<()>) -> BroadcastError {
        let mut updates = self.store.watch_progress();
        loop {
            let after = *end;
            let Ok(head) =
                updates.wait_for(|progress| progress.head > after).await.map(|progress| progress.head)
            else {
                // The store has stopped: there is nothing more to come.
                return std::future::pending().await;
            };
            match self.read_batch(after, head).await {
                Ok(read) => *end = read,
                Err(broken) => return broken,
            }
            notifier.send_replace(());
        }
    }

    async fn read_batch(&self, after: Position, head: Position) -> Result<Position, BroadcastError> {
        let query = EventQuery { after, until: Some(head), limit: BATCH, ..EventQuery::default() };
        let page = self.store.page(&query).await.map_err(BroadcastError::Unreadable)?;
        let render =
            |event| RenderedEvent::new(event, self.store.log_id()).map_err(BroadcastError::Unrenderable);
        let rendered = page.events.iter().map(render).collect::<Result<Vec<_>, _>>()?;
        for event in &page.events {
            // Of what cannot be understood the worst is assumed.
            if claim_change(event).map_or(true, |change| change.erases) {
                self.redact_erased(&event.envelope.stream).await?;
            }
        }
        self.buffer_mut().push(rendered);
        Ok(page.next)
    }

    /// What was erased is not shown any more, before anybody is told that it was erased.
    async fn redact_erased(&self, stream: &StreamId) -> Result<(), BroadcastError> {
        let positions = self.buffer().positions_of(stream);
        for position in positions {
            let found =
                self.store.read(&EventQuery::at(position)).await.map_err(BroadcastError::Unreadable)?;
            for event in &found {
                let rendered =
                    RenderedEvent::new(event, self.store.log_id()).map_err(BroadcastError::Unrenderable)?;
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

/// Somebody who follows the log.
pub(super) struct BroadcastSubscription {
    broadcaster: Arc<Broadcaster>,
    shared: Arc<Shared>,
    moved: watch::Receiver<()>,
}

impl BroadcastSubscription {
    /// What comes after that position.
    pub(super) fn next(&self, after: Position, view: &ReaderView<'_>) -> NextEvents {
        self.shared.buffer().next(after, view)
    }

    /// Whether all that the feed has is before that position.
    pub(super) fn is_caught_up(&self, at: Position) -> bool {
        self.shared.buffer().is_caught_up(at)
    }

    /// Until there may be more.
    pub(super) async fn changed(&mut self) -> Result<(), BroadcastEnded> {
        self.moved.changed().await.map_err(|_| BroadcastEnded)
    }
}

impl Drop for BroadcastSubscription {
    fn drop(&mut self) {
        self.broadcaster.unsubscribe();
    }
}
