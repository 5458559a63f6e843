//! Guarantee of [`StreamCache`]: a value that is returned includes every event of its stream that any process had
//! committed before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;

use super::harness::{Harness, append_writes};
use crate::append::{ExpectedVersion, StreamWrite};
use crate::event::{Position, StreamId};
use crate::event_store::EventStore;
use crate::stream_cache::StreamCache;

async fn append(harness: &Harness, store: &EventStore, stream: &StreamId) -> Position {
    let write = StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![harness.plain_event()]);
    append_writes(store, [write]).await.unwrap().position
}

/// Waits until the cache knows the log, by reading a value that it keeps then.
async fn filled(store: &EventStore, streams: &[StreamId]) -> StreamCache<u64> {
    let cache = StreamCache::new(store.clone(), 100);
    for stream in streams {
        while cache.get(stream).await.is_none() {
            let head = store.head().await.unwrap().position;
            cache.insert(stream.clone(), version(store, stream).await, head);
            tokio::task::yield_now().await;
        }
    }
    cache
}

async fn version(store: &EventStore, stream: &StreamId) -> u64 {
    store.last_of_stream(stream).await.unwrap().map_or(0, |event| event.version)
}

/// An event of another process drops the value of its stream, and no other.
pub async fn value_of_a_changed_stream_is_dropped(harness: &Harness) {
    let (store, other) = (harness.open_store().await, harness.open_store().await);
    let (ada, bob) = (harness.new_stream(), harness.new_stream());
    for stream in [&ada, &bob] {
        append(harness, &other, stream).await;
    }
    let cache = filled(&store, &[ada.clone(), bob.clone()]).await;
    for process in [&other, &store] {
        append(harness, process, &ada).await;
        assert_eq!((cache.get(&ada).await, cache.get(&bob).await), (None, Some(1)));
        let head = store.head().await.unwrap().position;
        cache.insert(ada.clone(), version(&store, &ada).await, head);
    }
    assert_eq!(cache.get(&ada).await, Some(3));
}

/// A value that was read before an event, and arrives after it was considered, is not kept.
pub async fn value_that_arrives_late_is_not_kept(harness: &Harness) {
    let store = harness.open_store().await;
    let (ada, bob) = (harness.new_stream(), harness.new_stream());
    let read_at = append(harness, &store, &ada).await;
    let cache = filled(&store, std::slice::from_ref(&ada)).await;
    append(harness, &store, &ada).await;
    append(harness, &store, &bob).await;
    assert_eq!(cache.get(&ada).await, None);
    cache.insert(ada.clone(), 1, read_at);
    assert_eq!(cache.get(&ada).await, None);
    // That of a stream without events since then is kept.
    cache.insert(bob.clone(), 1, read_at.next().next());
    assert_eq!(cache.get(&bob).await, Some(1));
}

/// Readers of one process race a writer of another.
pub async fn values_are_never_older_than_acknowledged_events(harness: &Harness) {
    const EVENTS: u64 = 60;
    let (store, other) = (harness.open_store().await, harness.open_store().await);
    let stream = harness.new_stream();
    append(harness, &other, &stream).await;
    let cache = filled(&store, std::slice::from_ref(&stream)).await;
    let acknowledged = Arc::new(AtomicU64::new(1));
    let writer = async {
        for version in 2..=EVENTS {
            append(harness, &other, &stream).await;
            acknowledged.store(version, Ordering::SeqCst);
        }
    };
    let hits = AtomicU64::new(0);
    let reader = || async {
        loop {
            let before = acknowledged.load(Ordering::SeqCst);
            if before == EVENTS {
                return;
            }
            let found = if let Some(cached) = cache.get(&stream).await {
                hits.fetch_add(1, Ordering::SeqCst);
                cached
            } else {
                // As queries of rows do: the position is that of a head read before the value.
                let head = store.head().await.unwrap().position;
                let version = version(&store, &stream).await;
                cache.insert(stream.clone(), version, head);
                version
            };
            // A cached value needs no waiting, so that the writer would never run.
            tokio::task::yield_now().await;
            assert!(found >= before, "version {found} was read after version {before} was acknowledged");
        }
    };
    tokio::join!(writer, join_all((0..8).map(|_| reader())));
    assert!(hits.load(Ordering::SeqCst) > 0, "nothing was read from the cache");
}
