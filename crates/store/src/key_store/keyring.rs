//! The master keys (KEKs) of a process: the current one, which wraps, and previous ones, which only unwrap. A
//! running process reloads them when it meets an unknown one. Where they are stored is up to the
//! [`KeySource`].

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{DecryptError, KeyId, MasterKey};

/// A current master key and any number of previous ones.
#[derive(Clone)]
pub struct MasterKeys {
    current: (KeyId, MasterKey),
    /// Without duplicates and without the current one.
    previous: Vec<(KeyId, MasterKey)>,
}

impl MasterKeys {
    /// Combines the current key with previous ones, which only unwrap.
    #[must_use]
    pub fn new(current: MasterKey, previous: impl IntoIterator<Item = MasterKey>) -> Self {
        let mut keys = Self { current: (current.id(), current), previous: Vec::new() };
        for key in previous {
            keys.add(key.id(), key);
        }
        keys
    }

    /// The id of the current key, the target of a rotation.
    #[must_use]
    pub fn current(&self) -> KeyId {
        self.current.0
    }

    /// The current key.
    #[must_use]
    pub fn current_key(&self) -> &MasterKey {
        &self.current.1
    }

    /// The ids of all keys, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.all().map(|(id, _)| *id)
    }

    /// Finds a key by its id.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&MasterKey> {
        self.all().find_map(|(known, key)| (*known == id).then_some(key))
    }

    /// Unwraps a key that [`MasterKey::wrap`] wrapped for the same owner.
    ///
    /// # Errors
    /// [`UnwrapError`] if its master key is missing, or the bytes were changed.
    pub fn unwrap(&self, owner: &str, wrapped: &[u8]) -> Result<[u8; 32], UnwrapError> {
        let (id, sealed) = MasterKey::split(wrapped).ok_or(DecryptError)?;
        let key = self.get(id).ok_or(UnwrapError::UnknownMasterKey(id))?;
        Ok(key.open_sealed(owner, sealed)?)
    }

    /// As [`MasterKeys::unwrap`], for a key of any length.
    ///
    /// # Errors
    /// As [`MasterKeys::unwrap`].
    pub fn unwrap_bytes(&self, owner: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        let (id, sealed) = MasterKey::split(wrapped).ok_or(DecryptError)?;
        let key = self.get(id).ok_or(UnwrapError::UnknownMasterKey(id))?;
        Ok(key.open_bytes(owner, sealed)?)
    }

    fn all(&self) -> impl Iterator<Item = &(KeyId, MasterKey)> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    fn add(&mut self, id: KeyId, key: MasterKey) {
        if self.get(id).is_none() {
            self.previous.push((id, key));
        }
    }
}

impl From<MasterKey> for MasterKeys {
    fn from(key: MasterKey) -> Self {
        Self::new(key, [])
    }
}

/// Prints the ids only, never key material.
impl fmt::Debug for MasterKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.ids()).finish()
    }
}

/// Why a wrapped key was not unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// The master key that it names is not among the given ones. The wrapped key may be intact.
    #[error("it is wrapped by master key {0}, which was not given")]
    UnknownMasterKey(KeyId),
    /// The master key is known, and does not unwrap it.
    #[error(transparent)]
    Undecryptable(#[from] DecryptError),
}

/// A source of master keys that can change while the process runs.
pub trait KeySource: Send + Sync {
    /// Reads the master keys. May block.
    ///
    /// # Errors
    /// A message for operators, which never contains key material.
    fn read(&self) -> Result<MasterKeys, String>;
}

/// The master keys of a running process. Clones share them.
#[derive(Clone)]
pub struct Keyring(Arc<Shared>);

struct Shared {
    keys: RwLock<Arc<MasterKeys>>,
    source: Option<Arc<dyn KeySource>>,
    /// Locked while the source is read, so that concurrent callers cause one read.
    reload: Mutex<()>,
}

impl Keyring {
    /// Creates a keyring. The source, if any, is read again when a key is missing.
    #[must_use]
    pub fn new(keys: MasterKeys, source: Option<Arc<dyn KeySource>>) -> Self {
        let keys = RwLock::new(Arc::new(keys));
        Self(Arc::new(Shared { keys, source, reload: Mutex::new(()) }))
    }

    /// The keys loaded so far.
    #[must_use]
    pub fn keys(&self) -> Arc<MasterKeys> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the keys, after reloading them if one of `wanted` is missing. A rotation publishes the new
    /// master key in the source before it wraps anything by it.
    pub async fn load_missing(&self, wanted: impl IntoIterator<Item = KeyId>) -> Arc<MasterKeys> {
        let keys = self.keys();
        let missing: Vec<_> = wanted.into_iter().filter(|id| keys.get(*id).is_none()).collect();
        let Some(source) = self.0.source.as_ref().filter(|_| !missing.is_empty()) else { return keys };
        let _reload = self.0.reload.lock().await;
        let keys = self.keys();
        // A concurrent caller may have reloaded them.
        if missing.iter().all(|id| keys.get(*id).is_some()) {
            return keys;
        }
        let source = Arc::clone(source);
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        match read.map_err(|stopped| stopped.to_string()).flatten() {
            Ok(found) => self.replace(found),
            Err(error) => tracing::error!(?missing, error, "reloading the master keys failed"),
        }
        self.keys()
    }

    /// Keeps the keys loaded before, as previous ones: a running process can always unwrap what it could
    /// unwrap before.
    fn replace(&self, mut found: MasterKeys) {
        let before = self.keys();
        for (id, key) in before.all() {
            found.add(*id, key.clone());
        }
        if found.current() != before.current() {
            tracing::info!(was = %before.current(), is = %found.current(), "master key changed");
        }
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
    }
}

impl<K: Into<MasterKeys>> From<K> for Keyring {
    fn from(keys: K) -> Self {
        Self::new(keys.into(), None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::env::Env;

    fn three_keys() -> [MasterKey; 3] {
        [(); 3].map(|()| MasterKey::generate(&Env::system()))
    }

    #[test]
    fn current_key_wraps_and_all_keys_unwrap() {
        let env = Env::system();
        let [old, new, unknown] = three_keys();
        let keys = MasterKeys::new(new.clone(), [old.clone(), new.clone(), old.clone()]);
        assert_eq!(keys.ids().collect::<Vec<_>>(), [new.id(), old.id()]);
        for key in [&old, &new] {
            let wrapped = key.wrap("user-1", &[7; 32], &env).unwrap();
            assert_eq!(keys.unwrap("user-1", &wrapped), Ok([7; 32]));
            assert_eq!(
                keys.unwrap("user-2", &wrapped),
                Err(DecryptError.into()),
                "wrapped for another owner"
            );
        }
        let wrapped = unknown.wrap("user-1", &[7; 32], &env).unwrap();
        let missing = keys.unwrap("user-1", &wrapped).unwrap_err();
        assert_eq!(missing, UnwrapError::UnknownMasterKey(unknown.id()));
        assert!(missing.to_string().contains(&unknown.id().to_string()), "{missing}");
        assert_eq!(keys.unwrap("user-1", &[1; 7]), Err(DecryptError.into()));
    }

    #[test]
    fn debug_output_never_shows_key_material() {
        let [old, new, _] = three_keys();
        let shown = format!("{:?}", MasterKeys::new(new.clone(), [old.clone()]));
        assert_eq!(shown, format!("[{}, {}]", new.id(), old.id()));
    }

    /// A source whose keys can be replaced, with the number of reads.
    struct ChangingSource(std::sync::Mutex<Result<MasterKeys, String>>, AtomicUsize);

    impl KeySource for ChangingSource {
        fn read(&self) -> Result<MasterKeys, String> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn missing_key_is_reloaded_and_known_keys_are_retained() {
        let [old, new, newest] = three_keys();
        let source =
            Arc::new(ChangingSource(std::sync::Mutex::new(Ok(old.clone().into())), AtomicUsize::new(0)));
        let ring = Keyring::new(old.clone().into(), Some(source.clone()));
        let reads = || source.1.load(Ordering::Relaxed);
        ring.load_missing([old.id()]).await;
        assert_eq!(reads(), 0, "nothing was missing");
        assert!(ring.load_missing([new.id()]).await.get(new.id()).is_none());
        *source.0.lock().unwrap() = Ok(MasterKeys::new(new.clone(), [old.clone()]));
        let found = ring.load_missing([old.id(), new.id()]).await;
        assert_eq!((found.current(), reads()), (new.id(), 2));
        // The old key was deleted from the source; this process continues to unwrap with it.
        *source.0.lock().unwrap() = Ok(newest.clone().into());
        let found = ring.load_missing([newest.id()]).await;
        assert_eq!(found.ids().collect::<Vec<_>>(), [newest.id(), new.id(), old.id()]);
        *source.0.lock().unwrap() = Err("no such folder".to_owned());
        let [unknown, ..] = three_keys();
        assert_eq!(ring.load_missing([unknown.id()]).await.current(), newest.id());
    }
}
