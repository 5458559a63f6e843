//! Reads the log as it grows, once for all who follow it on this node, and only while somebody does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use store::{EventQuery, EventStore, Position, StoreError, StreamId};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::window::{Next, Rendered, View, Window};
use crate::query::claims_of;

/// Events read at once.
const BATCH: usize = 256;
/// The pause after the log could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// The log as it grows.
pub(crate) struct Feed {
    store: EventStore,
    readers: Mutex<Option<Readers>>,
}

/// Those who follow now.
struct Readers {
    count: usize,
    shared: Arc<Shared>,
    /// Ends with the last of them.
    _reading: AbortOnDropHandle<()>,
}

/// What they share: made for the first, and gone with the last, so that nothing stays in memory that nobody keeps true.
struct Shared {
    store: EventStore,
    window: RwLock<Window>,
    /// Moves whenever the window does; closed once nobody reads on.
    moved: watch::Receiver<()>,
}

/// Nobody reads on: the feed has failed.
pub(super) struct Ended;

/// Why the log is not read on for the time being.
enum Broken {
    Unreadable(StoreError),
    Unrenderable(serde_json::Error),
}

impl Feed {
    pub(crate) fn new(store: EventStore) -> Arc<Self> {
        Arc::new(Self { store, readers: Mutex::default() })
    }

    /// Has the log read for as long as the subscription is kept.
    pub(super) fn subscribe(self: &Arc<Self>) -> Subscription {
        let mut readers = self.readers();
        let readers = readers.get_or_insert_with(|| Readers::of(&self.store));
        readers.count += 1;
        let shared = Arc::clone(&readers.shared);
        Subscription { feed: Arc::clone(self), moved: shared.moved.clone(), shared }
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

    fn readers(&self) -> MutexGuard<'_, Option<Readers>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    fn of(store: &EventStore) -> Self {
        let (bell, moved) = watch::channel(());
        let shared = Arc::new(Shared { store: store.clone(), window: RwLock::default(), moved });
        let reading = Arc::clone(&shared);
        // It owns the bell: should it fail, those who follow hear of that.
        let reading = tokio::spawn(async move { reading.read_on(&bell).await });
        Self { count: 0, shared, _reading: AbortOnDropHandle::new(reading) }
    }
}

impl Shared {
    /// Never ends by itself. What cannot be read is tried again: those who follow wait meanwhile, and are told no more than
    /// is certain.
    async fn read_on(&self, bell: &watch::Sender<()>) {
        let mut end = self.begin(bell);
        loop {
            match self.read_after(&mut end, bell).await {
                Broken::Unreadable(error) if error.is_transient() => {
                    tracing::warn!(%error, "the feed cannot read the log; trying again");
                    sleep(PAUSE).await;
                    continue;
                }
                Broken::Unreadable(error) => tracing::error!(%error, "the feed cannot read the log"),
                Broken::Unrenderable(error) => tracing::error!(%error, "the feed cannot show an event"),
            }
            sleep(PAUSE).await;
            // Those who follow look for themselves, and meet the same.
            end = self.begin(bell);
        }
    }

    /// Begins with what comes next.
    fn begin(&self, bell: &watch::Sender<()>) -> Position {
        let end = self.store.signal().head;
        *self.change() = Window::after(end);
        bell.send_replace(());
        end
    }

    /// Reads what comes after `end`, until it cannot be read.
    async fn read_after(&self, end: &mut Position, bell: &watch::Sender<()>) -> Broken {
        let mut signals = self.store.signals();
        loop {
            let after = *end;
            let Ok(head) = signals.wait_for(|signal| signal.head > after).await.map(|signal| signal.head)
            else {
                // The store has stopped: there is nothing more to come.
                return std::future::pending().await;
            };
            match self.read_up_to(after, head).await {
                Ok(read) => *end = read,
                Err(broken) => return broken,
            }
            bell.send_replace(());
        }
    }

    async fn read_up_to(&self, after: Position, head: Position) -> Result<Position, Broken> {
        let query = EventQuery { after, until: Some(head), limit: BATCH, ..EventQuery::default() };
        let page = self.store.page(&query).await.map_err(Broken::Unreadable)?;
        let render = |event| Rendered::new(event, self.store.log_id()).map_err(Broken::Unrenderable);
        let rendered = page.events.iter().map(render).collect::<Result<Vec<_>, _>>()?;
        for event in &page.events {
            // Of what cannot be understood the worst is assumed.
            if claims_of(event).map_or(true, |change| change.erases) {
                self.forget(&event.envelope.stream).await?;
            }
        }
        self.change().push(rendered);
        Ok(page.next)
    }

    /// What was erased is not shown any more, before anybody is told that it was erased.
    async fn forget(&self, stream: &StreamId) -> Result<(), Broken> {
        let positions = self.window().of_stream(stream);
        for position in positions {
            let found = self.store.read(&EventQuery::at(position)).await.map_err(Broken::Unreadable)?;
            for event in &found {
                let rendered = Rendered::new(event, self.store.log_id()).map_err(Broken::Unrenderable)?;
                self.change().replace(rendered);
            }
        }
        Ok(())
    }

    fn window(&self) -> RwLockReadGuard<'_, Window> {
        self.window.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Window> {
        self.window.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who follows the log.
pub(super) struct Subscription {
    feed: Arc<Feed>,
    shared: Arc<Shared>,
    moved: watch::Receiver<()>,
}

impl Subscription {
    /// What comes after that position.
    pub(super) fn next(&self, after: Position, view: &View<'_>) -> Next {
        self.shared.window().next(after, view)
    }

    /// Whether all that the feed has is before that position.
    pub(super) fn is_reached(&self, at: Position) -> bool {
        self.shared.window().is_reached(at)
    }

    /// Until there may be more.
    pub(super) async fn moved(&mut self) -> Result<(), Ended> {
        self.moved.changed().await.map_err(|_| Ended)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.unsubscribe();
    }
}
