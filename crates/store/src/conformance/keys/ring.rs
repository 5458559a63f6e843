//! What rotations are tried with: a database under one master key, and one that stops in the middle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::ambient::Ambient;
use crate::append::{AppendError, Expected, StreamWrite};
use crate::conformance::world::{Handle, World, all, put};
use crate::error::StoreError;
use crate::event::{PersonalData, StreamId};
use crate::event_store::EventStore;
use crate::rotation::{Rewrapped, Rotated, Rotation, Survey, Wrapped, WrappedKeys};
use crate::vault::{KeyId, MasterKey, MasterKeys};

/// A database under one master key, and others that it may be rotated to.
pub(super) struct Keys {
    pub(super) handle: Handle,
    pub(super) old: MasterKey,
    pub(super) new: MasterKey,
    pub(super) newest: MasterKey,
}

impl Keys {
    pub(super) async fn of(world: &World) -> Self {
        let ambient = Ambient::system();
        let handle = world.untouched().await;
        let [old, new, newest] = [(); 3].map(|()| MasterKey::generate(&ambient));
        world.open(&handle, old.clone()).await.unwrap();
        Self { handle, old, new, newest }
    }

    /// The new key, with that of before.
    pub(super) fn both(&self) -> MasterKeys {
        MasterKeys::new(self.new.clone(), [self.old.clone()])
    }

    /// As a process has them that was started before the new key was the current one.
    pub(super) fn both_with_old_first(&self) -> MasterKeys {
        MasterKeys::new(self.old.clone(), [self.new.clone()])
    }

    pub(super) fn rotation(&self, masters: impl Into<MasterKeys>) -> Rotation {
        Rotation::new(self.handle.keys.clone(), Arc::new(masters.into()), Ambient::system())
    }

    pub(super) async fn rotate(&self) -> Rotated {
        self.rotation(self.both()).run(&mut |_, _| {}).await.unwrap()
    }

    pub(super) async fn survey(&self) -> Survey {
        self.rotation(self.both()).survey().await.unwrap()
    }
}

/// A person whose e-mail address is `<name>@example.com`.
pub(super) async fn join(world: &World, store: &EventStore, name: &str) -> StreamId {
    let stream = world.stream();
    put(store, [world.claiming(&stream, &format!("{name}@example.com"))]).await.unwrap();
    stream
}

pub(super) async fn erase(world: &World, store: &EventStore, stream: &StreamId) -> Result<(), AppendError> {
    let last = vec![world.plain_event()];
    let write = StreamWrite { erase: true, ..StreamWrite::new(stream.clone(), Expected::Any, last) };
    put(store, [write]).await.map(drop)
}

/// Every event of the log is readable, but for those of these streams, which are erased.
pub(super) async fn assert_readable(store: &EventStore, erased: &[StreamId]) {
    for event in all(store).await.iter().filter(|event| event.envelope.sealed.is_some()) {
        let gone = erased.contains(&event.envelope.stream);
        assert_eq!(event.personal == PersonalData::Erased, gone, "{:?}", event.envelope.stream);
    }
}

pub(super) fn assert_names(refused: &StoreError, missing: &MasterKey) {
    let named = |what: &str| what.contains(&missing.id().to_string());
    assert!(matches!(refused, StoreError::KeyMissing(what) if named(what)), "{refused:?}");
}

/// What the service could not open it names, and leaves the database as it was.
pub(super) async fn assert_refused(world: &World, keys: &Keys, given: &MasterKey, missing: &MasterKey) {
    let before = keys.handle.keys.service_keys().await.unwrap();
    let refused = world.open(&keys.handle, given.clone()).await.map(drop).unwrap_err();
    assert_names(&refused, missing);
    assert_eq!(keys.handle.keys.service_keys().await.unwrap(), before);
}

/// Wrapped keys of which only so many changes are made before the next one fails.
pub(super) struct Stopping {
    keys: Arc<dyn WrappedKeys>,
    left: AtomicUsize,
    /// What somebody else does before the first of them.
    pub(super) before: Mutex<Vec<Rewrapped>>,
}

impl Stopping {
    pub(super) fn after(keys: Arc<dyn WrappedKeys>, changes: usize) -> Arc<Self> {
        Arc::new(Self { keys, left: AtomicUsize::new(changes), before: Mutex::default() })
    }

    fn change(&self) -> Result<(), StoreError> {
        let one = |left: usize| left.checked_sub(1);
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one);
        left.map(drop).map_err(|_| StoreError::Unavailable { what: "it stops here".to_owned(), source: None })
    }
}

#[async_trait]
impl WrappedKeys for Stopping {
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        self.keys.service_keys().await
    }

    async fn count_keys(&self, known: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
        self.keys.count_keys(known).await
    }

    async fn wrapped_keys(&self, after: Option<&StreamId>, limit: usize) -> Result<Vec<Wrapped>, StoreError> {
        self.keys.wrapped_keys(after, limit).await
    }

    async fn replace_keys(&self, changes: &[Rewrapped]) -> Result<u64, StoreError> {
        self.change()?;
        let before = std::mem::take(&mut *self.before.lock().await);
        self.keys.replace_keys(&before).await?;
        self.keys.replace_keys(changes).await
    }

    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
        self.change()?;
        self.keys.replace_service_key(name, from, to).await
    }
}
