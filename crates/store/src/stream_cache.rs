//! Keeps in memory what follows from the events of one stream, such as its row in a read model, without ever
//! returning what a commit has made obsolete: before a value is returned, the events that were committed since
//! the last time are read, once for all callers that wait. The database is asked which streams have changed instead
//! of what they contain, so the answer is as current as the value itself would be if it were read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use hashlink::LruCache;
use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::backend::EventQuery;
use crate::caches::ForgetStream;
use crate::error::{Corruption, StoreError};
use crate::event::{Envelope, Position, StreamId};
use crate::event_store::EventStore;
use crate::lock::lock;

/// Events in one read.
const PAGE: usize = 512;
/// How many reads may follow each other; the cache is emptied if the log has grown by more.
const MAX_PAGES: usize = 8;
/// Reads at the same time: callers that come while one is under way need another.
const CONCURRENT_READS: usize = 2;
/// Of how many events the streams are remembered, for values that were read while they were committed.
const RECENT: usize = 4096;
/// The longest time for which callers wait for a database that does not answer. They read the value itself then.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// How long values of changed streams may stay in memory if there are no callers: an erased user's, for example.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Values by stream. Clones share them.
pub struct StreamCache<V> {
    shared: Arc<Shared<V>>,
    /// They end with the last clone.
    readers: Arc<[AbortOnDropHandle<()>]>,
}

struct Shared<V> {
    store: EventStore,
    state: Mutex<State<V>>,
    /// The callers so far.
    callers: AtomicU64,
    wake: Notify,
    answered: watch::Sender<Answered>,
}

/// The result of the last read.
#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    /// The number of callers that had come before it began.
    callers: u64,
    is_current: bool,
}

struct State<V> {
    values: LruCache<StreamId, V>,
    /// The last event that was considered; `None` before the first read.
    last: Option<LastEvent>,
    /// The streams of the last events, up to that one.
    recent: VecDeque<StreamId>,
    /// The marker of the database before the last read.
    marker: Option<u64>,
}

/// An event that must still be there at the next read, or the log is no longer the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastEvent {
    position: Position,
    /// `None` at the start of the log.
    leaf: Option<[u8; 32]>,
}

impl<V> Clone for StreamCache<V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), readers: Arc::clone(&self.readers) }
    }
}

impl<V: Clone + Send + 'static> StreamCache<V> {
    /// An empty cache of at most `capacity` values; the least recently used ones give way.
    #[must_use]
    pub fn new(store: EventStore, capacity: usize) -> Self {
        let state =
            State { values: LruCache::new(capacity), last: None, recent: VecDeque::new(), marker: None };
        let shared = Arc::new(Shared {
            store,
            state: Mutex::new(state),
            callers: AtomicU64::new(0),
            wake: Notify::new(),
            answered: watch::Sender::new(Answered::default()),
        });
        let as_cache: Weak<dyn ForgetStream> = Arc::<Shared<V>>::downgrade(&shared);
        shared.store.register_cache(as_cache);
        let mut readers =
            vec![AbortOnDropHandle::new(tokio::spawn(Arc::clone(&shared).forget_without_callers()))];
        readers.extend(
            (0..CONCURRENT_READS)
                .map(|_| AbortOnDropHandle::new(tokio::spawn(Arc::clone(&shared).answer_callers()))),
        );
        Self { shared, readers: readers.into() }
    }

    /// The value of a stream, if it includes every event of the stream that was committed before this call, by
    /// whatever process.
    pub async fn get(&self, stream: &StreamId) -> Option<V> {
        // Before the marker of the last read, so that a commit in between makes the two differ.
        let marker = self.shared.store.backend().commit_marker();
        {
            let mut state = lock(&self.shared.state);
            let is_unchanged = marker.is_some() && marker == state.marker;
            let value = state.values.get(stream)?;
            if is_unchanged {
                return Some(value.clone());
            }
        }
        let caller = self.shared.callers.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answered = self.shared.answered.subscribe();
        self.shared.wake.notify_one();
        let is_current =
            answered.wait_for(|read| read.callers >= caller).await.is_ok_and(|read| read.is_current);
        if is_current { lock(&self.shared.state).values.get(stream).cloned() } else { None }
    }

    /// Stores the value of a stream, which includes all events of the stream up to `position`, unless later ones have
    /// come meanwhile.
    pub fn insert(&self, stream: StreamId, value: V, position: Position) {
        lock(&self.shared.state).insert(stream, value, position);
    }
}

impl<V: Send> ForgetStream for Shared<V> {
    fn forget(&self, stream: &StreamId) {
        lock(&self.state).values.remove(stream);
    }
}

impl<V> Shared<V> {
    async fn answer_callers(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            self.answer().await;
        }
    }

    /// Reads a while after commits, whether or not there are callers.
    async fn forget_without_callers(self: Arc<Self>) {
        let mut progress = self.store.watch_progress();
        self.answer().await;
        while progress.changed().await.is_ok() {
            if !lock(&self.state).values.is_empty() {
                sleep(IDLE_INTERVAL).await;
                self.answer().await;
            }
        }
    }

    /// Considers the new events on behalf of all callers that have come.
    async fn answer(&self) {
        // Under load, other callers are about to come.
        yield_now().await;
        let callers = self.callers.load(Ordering::SeqCst);
        let marker = self.store.backend().commit_marker();
        let is_current = match timeout(READ_TIMEOUT, self.consider_new_events()).await {
            Ok(Ok(is_current)) => is_current,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the events after those that cached values include were not read");
                if !error.is_transient() {
                    // Events are missing, for example: what is cached may be wrong too.
                    lock(&self.state).clear(None);
                }
                false
            }
            Err(_) => false,
        };
        lock(&self.state).marker = marker.filter(|_| is_current);
        self.answered.send_if_modified(|answered| {
            // Otherwise a later read has overtaken this one, and answers for its callers too.
            let is_newest = callers >= answered.callers;
            if is_newest {
                *answered = Answered { callers, is_current };
            }
            is_newest
        });
    }

    /// Drops the values of streams that have got events. Whether no event is missing that was committed before the
    /// call.
    async fn consider_new_events(&self) -> Result<bool, StoreError> {
        let confirmation = self.store.confirm_head().await?;
        let last = lock(&self.state).last;
        let Some(mut last) = last else { return self.restart().await };
        for _ in 0..MAX_PAGES {
            let query = EventQuery { after: last.position.previous(), limit: PAGE, ..EventQuery::default() };
            let mut events = self.store.read_sealed(&query).await?;
            let is_complete = events.len() < PAGE;
            if last.leaf.is_some() {
                let is_same = events.first().is_some_and(|first| LastEvent::from(first) == last);
                if !is_same {
                    return self.restart().await;
                }
                events.remove(0);
            }
            if let Some(newest) = events.last() {
                last = newest.into();
                lock(&self.state).consider(events);
            }
            if is_complete {
                return Ok(self.store.is_confirmed(confirmation));
            }
        }
        self.restart().await
    }

    /// Empties the cache: values that are read from now on include all events up to the head.
    async fn restart(&self) -> Result<bool, StoreError> {
        let position = self.store.head().await?.position;
        let last = if position == Position::START {
            LastEvent { position, leaf: None }
        } else {
            let found = self.store.read_sealed(&EventQuery::at(position)).await?;
            let found = found.first().ok_or(Corruption::MissingEvents { first: position, last: position })?;
            found.into()
        };
        lock(&self.state).clear(Some(last));
        Ok(true)
    }
}

impl<V> State<V> {
    fn clear(&mut self, last: Option<LastEvent>) {
        self.values.clear();
        self.recent.clear();
        self.last = last;
    }

    /// Drops the values of streams that have got events. Another read may have brought some of them.
    fn consider(&mut self, events: Vec<Envelope>) {
        let known = self.last.map(|last| last.position);
        for event in events.into_iter().filter(|event| known.is_none_or(|known| event.position > known)) {
            self.last = Some(LastEvent::from(&event));
            self.values.remove(&event.stream);
            self.recent.push_back(event.stream);
        }
        let superfluous = self.recent.len().saturating_sub(RECENT);
        self.recent.drain(..superfluous);
    }

    fn insert(&mut self, stream: StreamId, value: V, position: Position) {
        let Some(last) = self.last else { return };
        // Positions have no gaps.
        let later = usize::try_from(last.position.get().saturating_sub(position.get())).unwrap_or(usize::MAX);
        let is_known = later <= self.recent.len();
        if is_known && !self.recent.iter().rev().take(later).any(|changed| *changed == stream) {
            self.values.insert(stream, value);
        }
    }
}

impl From<&Envelope> for LastEvent {
    fn from(event: &Envelope) -> Self {
        Self { position: event.position, leaf: Some(event.leaf) }
    }
}

#[cfg(test)]
mod tests;
