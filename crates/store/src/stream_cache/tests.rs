use std::sync::atomic::AtomicBool;

use super::*;
use crate::append::{Append, ExpectedVersion, StreamWrite};
use crate::backend::Backend;
use crate::backend_decorator::BackendDecorator;
use crate::env::Env;
use crate::event::NewEvent;
use crate::key_store::MasterKey;
use crate::memory::Memory;

/// A database that can be replaced by another one, or fail, while it is open.
#[derive(Default)]
struct Replaceable {
    first: Memory,
    second: Memory,
    is_replaced: AtomicBool,
}

impl BackendDecorator for Replaceable {
    fn inner(&self) -> &dyn Backend {
        if self.is_replaced.load(Ordering::SeqCst) { &self.second } else { &self.first }
    }
}

fn stream(name: &str) -> StreamId {
    StreamId::new(format!("user-{name}")).unwrap()
}

async fn append(store: &EventStore, name: &str) -> Position {
    let event = NewEvent {
        id: Env::system().uuid(),
        event_type: "Happened".to_owned(),
        schema: 1,
        data: serde_json::Map::new(),
        personal: serde_json::Map::new(),
    };
    let write = StreamWrite::new(stream(name), ExpectedVersion::Any, vec![event]);
    store.append(&Append::new("system", "test", vec![write])).await.unwrap().position
}

async fn open(backend: Arc<dyn Backend>, master: &MasterKey) -> EventStore {
    EventStore::open(backend, master.clone(), Env::system()).await.unwrap()
}

/// A cache that has considered the log up to its head.
async fn cache_of(store: &EventStore, capacity: usize) -> StreamCache<&'static str> {
    let cache = StreamCache::new(store.clone(), capacity);
    cache.shared.answered.subscribe().changed().await.unwrap();
    cache
}

#[tokio::test]
async fn values_of_a_replaced_log_are_dropped() {
    let (backend, master) = (Arc::new(Replaceable::default()), MasterKey::generate(&Env::system()));
    let store = open(backend.clone(), &master).await;
    backend.is_replaced.store(true, Ordering::SeqCst);
    // As long as the first one.
    append(&open(backend.clone(), &master).await, "bob").await;
    backend.is_replaced.store(false, Ordering::SeqCst);
    let position = append(&store, "ada").await;
    let cache = cache_of(&store, 10).await;
    cache.insert(stream("ada"), "value", position);
    assert_eq!(cache.get(&stream("ada")).await, Some("value"));
    backend.is_replaced.store(true, Ordering::SeqCst);
    assert_eq!(cache.get(&stream("ada")).await, None);
}

#[tokio::test]
async fn least_recently_used_value_gives_way() {
    let store = open(Arc::new(Memory::default()), &MasterKey::generate(&Env::system())).await;
    let mut position = Position::START;
    for name in ["ada", "bob", "cid"] {
        position = append(&store, name).await;
    }
    let cache = cache_of(&store, 2).await;
    cache.insert(stream("ada"), "a", position);
    cache.insert(stream("bob"), "b", position);
    assert_eq!(cache.get(&stream("ada")).await, Some("a"));
    cache.insert(stream("cid"), "c", position);
    assert_eq!(cache.get(&stream("bob")).await, None);
    assert_eq!(cache.get(&stream("ada")).await, Some("a"));
}

#[tokio::test(start_paused = true)]
async fn values_of_changed_streams_leave_memory_without_callers() {
    let store = open(Arc::new(Memory::default()), &MasterKey::generate(&Env::system())).await;
    let position = append(&store, "ada").await;
    let cache = cache_of(&store, 10).await;
    cache.insert(stream("ada"), "value", position);
    append(&store, "ada").await;
    sleep(IDLE_INTERVAL * 2).await;
    assert!(lock(&cache.shared.state).values.is_empty());
}
