//! Fixtures for rotations: a database with several master keys, and a key store that fails after some
//! changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::append::{AppendError, ExpectedVersion, StreamWrite};
use crate::conformance::harness::{BackendHandle, Harness, append_writes, read_all};
use crate::env::Env;
use crate::error::{StoreError, WriteError};
use crate::event::{PersonalData, StreamId};
use crate::event_store::EventStore;
use crate::key_store::{KeyId, MasterKey, MasterKeys};
use crate::rotation::{
    KeyReplacement, MasterKeyUsage, Rotation, RotationSummary, WrappedKey, WrappedKeyStore,
};

/// A database under the master key `old`, and master keys to rotate to.
pub(super) struct RotationFixture {
    pub(super) handle: BackendHandle,
    pub(super) old: MasterKey,
    pub(super) new: MasterKey,
    pub(super) newest: MasterKey,
}

impl RotationFixture {
    pub(super) async fn new(harness: &Harness) -> Self {
        let env = Env::system();
        let handle = harness.open_unmigrated().await;
        let [old, new, newest] = [(); 3].map(|()| MasterKey::generate(&env));
        harness.open_with_master_keys(&handle, old.clone()).await.unwrap();
        Self { handle, old, new, newest }
    }

    /// The new master key first, then the old one.
    pub(super) fn both(&self) -> MasterKeys {
        MasterKeys::new(self.new.clone(), [self.old.clone()])
    }

    /// The old master key first: a process that was started before the new key became current.
    pub(super) fn both_with_old_first(&self) -> MasterKeys {
        MasterKeys::new(self.old.clone(), [self.new.clone()])
    }

    pub(super) fn rotation(&self, masters: impl Into<MasterKeys>) -> Rotation {
        Rotation::new(self.handle.keys.clone(), Arc::new(masters.into()), Env::system())
    }

    pub(super) async fn rotate(&self) -> RotationSummary {
        self.rotation(self.both()).run(&mut |_, _| {}).await.unwrap()
    }

    pub(super) async fn master_key_usage(&self) -> MasterKeyUsage {
        self.rotation(self.both()).master_key_usage().await.unwrap()
    }
}

/// Registers a user with the e-mail address `<name>@example.com`.
pub(super) async fn register(harness: &Harness, store: &EventStore, name: &str) -> StreamId {
    let stream = harness.new_stream();
    append_writes(store, [harness.write_claiming_email(&stream, &format!("{name}@example.com"))])
        .await
        .unwrap();
    stream
}

pub(super) async fn erase(
    harness: &Harness,
    store: &EventStore,
    stream: &StreamId,
) -> Result<(), AppendError> {
    let last = vec![harness.plain_event()];
    let write = StreamWrite { erase: true, ..StreamWrite::new(stream.clone(), ExpectedVersion::Any, last) };
    append_writes(store, [write]).await.map(drop)
}

/// Asserts that all events are readable except those of the erased streams.
pub(super) async fn assert_readable(store: &EventStore, erased: &[StreamId]) {
    for event in read_all(store).await.iter().filter(|event| event.envelope.sealed.is_some()) {
        let is_erased = erased.contains(&event.envelope.stream);
        assert_eq!(event.personal == PersonalData::Erased, is_erased, "{:?}", event.envelope.stream);
    }
}

pub(super) fn assert_key_missing(refused: &StoreError, missing: &MasterKey) {
    assert!(matches!(refused, StoreError::KeyMissing(found) if found.names(missing.id())), "{refused:?}");
}

/// Asserts that opening fails, names the missing master key, and changes nothing.
pub(super) async fn assert_cannot_open(
    harness: &Harness,
    keys: &RotationFixture,
    given: &MasterKey,
    missing: &MasterKey,
) {
    let before = keys.handle.keys.service_keys().await.unwrap();
    let refused = harness.open_with_master_keys(&keys.handle, given.clone()).await.map(drop).unwrap_err();
    assert_key_missing(&refused, missing);
    assert_eq!(keys.handle.keys.service_keys().await.unwrap(), before);
}

/// A key store that fails after a number of changes.
pub(super) struct FailAfter {
    keys: Arc<dyn WrappedKeyStore>,
    left: AtomicUsize,
    /// Replacements by another process before the first change.
    pub(super) before: Mutex<Vec<KeyReplacement>>,
}

impl FailAfter {
    pub(super) fn read_after(keys: Arc<dyn WrappedKeyStore>, changes: usize) -> Arc<Self> {
        Arc::new(Self { keys, left: AtomicUsize::new(changes), before: Mutex::default() })
    }

    fn change(&self) -> Result<(), StoreError> {
        let one = |left: usize| left.checked_sub(1);
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one);
        left.map(drop)
            .map_err(|_| StoreError::Unavailable { what: "injected failure".to_owned(), source: None })
    }
}

#[async_trait]
impl WrappedKeyStore for FailAfter {
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        self.keys.service_keys().await
    }

    async fn count_keys(&self, known: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
        self.keys.count_keys(known).await
    }

    async fn wrapped_keys(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<WrappedKey>, StoreError> {
        self.keys.wrapped_keys(after, limit).await
    }

    async fn replace_keys(&self, changes: &[KeyReplacement]) -> Result<u64, StoreError> {
        self.change()?;
        let before = std::mem::take(&mut *self.before.lock().await);
        self.keys.replace_keys(&before).await?;
        self.keys.replace_keys(changes).await
    }

    async fn add_service_key(&self, name: &str, wrapped: &[u8]) -> Result<(), WriteError> {
        self.keys.add_service_key(name, wrapped).await
    }

    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<(), WriteError> {
        self.change()?;
        self.keys.replace_service_key(name, from, to).await
    }
}
