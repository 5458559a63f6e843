//! The master keys that a process has: the one that it was given to wrap with, and those from before a rotation, which
//! only open. Where they come from can be read again while the process runs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use super::{DecryptError, KeyId, MasterKey};

/// Master keys, of which there is at least one.
#[derive(Clone)]
pub struct MasterKeys {
    current: (KeyId, MasterKey),
    /// None of them twice, and not the current one.
    others: Vec<(KeyId, MasterKey)>,
}

impl MasterKeys {
    /// The current key, and those that only open.
    #[must_use]
    pub fn new(current: MasterKey, previous: impl IntoIterator<Item = MasterKey>) -> Self {
        let mut keys = Self { current: (current.id(), current), others: Vec::new() };
        for key in previous {
            keys.add(key.id(), key);
        }
        keys
    }

    /// The key that a rotation wraps everything with.
    #[must_use]
    pub fn current(&self) -> KeyId {
        self.current.0
    }

    /// That key itself.
    #[must_use]
    pub fn current_key(&self) -> &MasterKey {
        &self.current.1
    }

    /// All of them, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.all().map(|(id, _)| *id)
    }

    /// The key of that id.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&MasterKey> {
        self.all().find_map(|(known, key)| (*known == id).then_some(key))
    }

    /// Opens what [`MasterKey::wrap`] made for the same owner.
    ///
    /// # Errors
    /// [`UnwrapError`]: the master key is not here, or the bytes were changed.
    pub fn unwrap(&self, owner: &str, wrapped: &[u8]) -> Result<[u8; 32], UnwrapError> {
        let (id, sealed) = MasterKey::split(wrapped).ok_or(DecryptError)?;
        let key = self.get(id).ok_or(UnwrapError::UnknownMasterKey(id))?;
        Ok(key.open_sealed(owner, sealed)?)
    }

    fn all(&self) -> impl Iterator<Item = &(KeyId, MasterKey)> {
        std::iter::once(&self.current).chain(&self.others)
    }

    fn add(&mut self, id: KeyId, key: MasterKey) {
        if self.get(id).is_none() {
            self.others.push((id, key));
        }
    }
}

impl From<MasterKey> for MasterKeys {
    fn from(key: MasterKey) -> Self {
        Self::new(key, [])
    }
}

/// The ids, current first; of the keys themselves nothing.
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

/// Where master keys come from, if they can change while the process runs.
pub trait KeySource: Send + Sync {
    /// The keys that are there now. May block.
    ///
    /// # Errors
    /// Why they cannot be read, for people; never with anything of a key.
    fn read(&self) -> Result<MasterKeys, String>;
}

/// The master keys of a running process. Clones share them.
#[derive(Clone)]
pub struct Keyring(Arc<Shared>);

struct Shared {
    held: RwLock<Arc<MasterKeys>>,
    source: Option<Arc<dyn KeySource>>,
    /// Held while the source is read, so that of many who miss a key one looks for it.
    reading: Mutex<()>,
}

impl Keyring {
    /// Keys that were read from a source, which is asked again when one is missing.
    #[must_use]
    pub fn new(keys: MasterKeys, source: Option<Arc<dyn KeySource>>) -> Self {
        let held = RwLock::new(Arc::new(keys));
        Self(Arc::new(Shared { held, source, reading: Mutex::new(()) }))
    }

    /// The keys, as far as they are known.
    #[must_use]
    pub fn keys(&self) -> Arc<MasterKeys> {
        Arc::clone(&self.0.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys, read anew if one of these is not among them: whoever rotates the master key beside this process puts
    /// the new one there before anything is wrapped by it.
    pub async fn load_missing(&self, wanted: impl IntoIterator<Item = KeyId>) -> Arc<MasterKeys> {
        let keys = self.keys();
        let missing: Vec<_> = wanted.into_iter().filter(|id| keys.get(*id).is_none()).collect();
        let Some(source) = self.0.source.as_ref().filter(|_| !missing.is_empty()) else { return keys };
        let _reading = self.0.reading.lock().await;
        let keys = self.keys();
        // Somebody else has looked meanwhile.
        if missing.iter().all(|id| keys.get(*id).is_some()) {
            return keys;
        }
        let source = Arc::clone(source);
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        match read.map_err(|stopped| stopped.to_string()).flatten() {
            Ok(found) => self.take(found),
            Err(error) => tracing::error!(?missing, error, "the master keys could not be read anew"),
        }
        self.keys()
    }

    /// What was held stays, last: a process that runs can always open what it could open before.
    fn take(&self, mut found: MasterKeys) {
        let before = self.keys();
        for (id, key) in before.all() {
            found.add(*id, key.clone());
        }
        if found.current() != before.current() {
            tracing::info!(was = %before.current(), is = %found.current(), "there is a new master key");
        }
        *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
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

    fn three() -> [MasterKey; 3] {
        [(); 3].map(|()| MasterKey::generate(&Env::system()))
    }

    #[test]
    fn current_key_wraps_and_all_keys_unwrap() {
        let env = Env::system();
        let [old, new, stranger] = three();
        let keys = MasterKeys::new(new.clone(), [old.clone(), new.clone(), old.clone()]);
        assert_eq!(keys.ids().collect::<Vec<_>>(), [new.id(), old.id()]);
        for key in [&old, &new] {
            let wrapped = key.wrap("user-1", &[7; 32], &env).unwrap();
            assert_eq!(keys.unwrap("user-1", &wrapped), Ok([7; 32]));
            assert_eq!(keys.unwrap("user-2", &wrapped), Err(DecryptError.into()), "it is somebody else's");
        }
        let wrapped = stranger.wrap("user-1", &[7; 32], &env).unwrap();
        let missing = keys.unwrap("user-1", &wrapped).unwrap_err();
        assert_eq!(missing, UnwrapError::UnknownMasterKey(stranger.id()));
        assert!(missing.to_string().contains(&stranger.id().to_string()), "{missing}");
        assert_eq!(keys.unwrap("user-1", &[1; 7]), Err(DecryptError.into()));
    }

    #[test]
    fn debug_output_never_shows_key_material() {
        let [old, new, _] = three();
        let shown = format!("{:?}", MasterKeys::new(new.clone(), [old.clone()]));
        assert_eq!(shown, format!("[{}, {}]", new.id(), old.id()));
    }

    /// Keys in a place where they can be changed, and how often they were read.
    struct ChangingSource(std::sync::Mutex<Result<MasterKeys, String>>, AtomicUsize);

    impl KeySource for ChangingSource {
        fn read(&self) -> Result<MasterKeys, String> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn missing_key_is_reloaded_and_known_keys_are_retained() {
        let [old, new, newest] = three();
        let place =
            Arc::new(ChangingSource(std::sync::Mutex::new(Ok(old.clone().into())), AtomicUsize::new(0)));
        let ring = Keyring::new(old.clone().into(), Some(place.clone()));
        let reads = || place.1.load(Ordering::Relaxed);
        ring.load_missing([old.id()]).await;
        assert_eq!(reads(), 0, "nothing was missing");
        assert!(ring.load_missing([new.id()]).await.get(new.id()).is_none());
        *place.0.lock().unwrap() = Ok(MasterKeys::new(new.clone(), [old.clone()]));
        let found = ring.load_missing([old.id(), new.id()]).await;
        assert_eq!((found.current(), reads()), (new.id(), 2));
        // The old key is deleted: this process had it, so it goes on opening with it.
        *place.0.lock().unwrap() = Ok(newest.clone().into());
        let found = ring.load_missing([newest.id()]).await;
        assert_eq!(found.ids().collect::<Vec<_>>(), [newest.id(), new.id(), old.id()]);
        *place.0.lock().unwrap() = Err("no such folder".to_owned());
        let [stranger, ..] = three();
        assert_eq!(ring.load_missing([stranger.id()]).await.current(), newest.id());
    }
}
