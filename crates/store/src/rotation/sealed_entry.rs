//! A service key of any length, sealed by the master key (KEK), which processes replace by compare-and-set.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{SIGNING, WrappedKeyStore, owner, service_key_bytes};
use crate::env::Env;
use crate::error::{InternalError, StoreError, WriteError};
use crate::key_store::{Keyring, MasterKey};

/// One service key by name.
#[derive(Clone)]
pub struct SealedEntry {
    stored: Arc<dyn WrappedKeyStore>,
    masters: Keyring,
    name: &'static str,
    env: Env,
}

/// The content of an entry as it was read.
pub struct OpenedEntry {
    /// The content, secret.
    pub content: Zeroizing<Vec<u8>>,
    sealed: Vec<u8>,
}

impl SealedEntry {
    /// The entry of that name, which need not exist yet.
    #[must_use]
    pub fn new(stored: Arc<dyn WrappedKeyStore>, masters: Keyring, name: &'static str, env: Env) -> Self {
        Self { stored, masters, name, env }
    }

    /// Reads and opens the entry; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`] if its master key was not given, [`StoreError::Corrupt`] if it was sealed for
    /// another name or changed.
    pub async fn read(&self) -> Result<Option<OpenedEntry>, StoreError> {
        let Some(sealed) = self.stored.service_keys().await?.remove(self.name) else { return Ok(None) };
        let masters = self.masters.load_missing(MasterKey::id_of(&sealed)).await;
        let content = service_key_bytes(&masters, self.name, &sealed)?;
        Ok(Some(OpenedEntry { content, sealed }))
    }

    /// Replaces the entry as it was read, or adds it if there was none.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if another process has changed it since.
    pub async fn write(&self, from: Option<&OpenedEntry>, content: &[u8]) -> Result<(), WriteError> {
        let sealed = self.seal(content).await?;
        match from {
            Some(from) => self.stored.replace_service_key(self.name, &from.sealed, &sealed).await,
            None => self.stored.add_service_key(self.name, &sealed).await,
        }
    }

    /// Seals by the master key that wraps new data keys, so that a rotation of the master key which has begun
    /// holds for the entry as well.
    async fn seal(&self, content: &[u8]) -> Result<Vec<u8>, StoreError> {
        let wrapping = self.stored.service_keys().await?.get(SIGNING).and_then(|key| MasterKey::id_of(key));
        let masters = self.masters.load_missing(wrapping).await;
        let master = wrapping.and_then(|id| masters.get(id)).unwrap_or_else(|| masters.current_key());
        let sealed = master.wrap(&owner(self.name), content, &self.env);
        sealed.map_err(|_| InternalError::Encryption { what: format!("the key of {}", self.name) }.into())
    }
}
