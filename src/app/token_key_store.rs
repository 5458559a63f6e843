//! The keys of access tokens in the key store: made once, under a compare-and-set, shared by all nodes, and loaded
//! again as they change.

use std::sync::Arc;
use std::time::Duration;

use store::rotation::{SealedEntry, TOKENS};
use store::{Corruption, Env, StoreError, WriteError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::database::Database;
use crate::config::MasterKeySetting;
use crate::crypto::{InvalidTokenKeys, KeyAlgorithm, PublicKey, TokenKeys, Tokens};

/// How often a node loads the keys, so that all nodes sign with a new key when it begins to sign.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// The shortest time between two loads that tokens with an unknown key cause.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(1);

/// The keys of access tokens of one node.
pub struct TokenKeyStore {
    entry: SealedEntry,
    tokens: Arc<Tokens>,
    /// The longest lifetime of a token, in seconds.
    longest_token: i64,
    env: Env,
    /// When the latest load for an unknown key began.
    loaded: Mutex<Option<Instant>>,
}

/// The entry of the key store that holds the keys of access tokens.
#[must_use]
pub fn token_key_entry(database: &Database, masters: &MasterKeySetting, env: &Env) -> SealedEntry {
    SealedEntry::new(Arc::clone(&database.keys), masters.keyring(), TOKENS, env.clone())
}

/// The stored keys, opened.
///
/// # Errors
/// [`StoreError`] if they cannot be read, or were not sealed by this service.
pub async fn stored_token_keys(entry: &SealedEntry) -> Result<TokenKeys, StoreError> {
    entry.read().await?.map_or_else(|| Ok(TokenKeys::default()), |opened| parse(&opened.content))
}

/// Adds a key that signs later or, if so requested, at once, for all nodes; returns it with all keys.
///
/// # Errors
/// [`StoreError`] if they cannot be read or written.
pub async fn rotate_token_keys(
    entry: &SealedEntry,
    algorithm: KeyAlgorithm,
    at_once: bool,
    env: &Env,
) -> Result<(PublicKey, TokenKeys), StoreError> {
    loop {
        let opened = entry.read().await?;
        let mut keys = opened.as_ref().map_or_else(|| Ok(TokenKeys::default()), |it| parse(&it.content))?;
        let added = keys.rotate(algorithm, env.now().as_second(), at_once).map_err(corrupt)?;
        match entry.write(opened.as_ref(), &keys.to_bytes()).await {
            Ok(()) => return Ok((added, keys)),
            Err(WriteError::Conflict) => {}
            Err(WriteError::Store(error)) => return Err(error),
        }
    }
}

impl TokenKeyStore {
    /// Loads the keys of the tokens, which are valid for at most that long; makes the first one if there is none.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read or written.
    pub async fn open(
        entry: SealedEntry,
        tokens: Arc<Tokens>,
        longest_token: Duration,
        env: Env,
    ) -> Result<Self, StoreError> {
        let longest_token = i64::try_from(longest_token.as_secs()).unwrap_or(i64::MAX);
        let store = Self { entry, tokens, longest_token, env, loaded: Mutex::new(None) };
        store.load().await?;
        Ok(store)
    }

    /// Loads the keys.
    ///
    /// # Errors
    /// As [`TokenKeyStore::open`]; the keys loaded before stay in use.
    pub async fn load(&self) -> Result<(), StoreError> {
        loop {
            let opened = self.entry.read().await?;
            let mut keys =
                opened.as_ref().map_or_else(|| Ok(TokenKeys::default()), |it| parse(&it.content))?;
            let now = self.env.now().as_second();
            let changed = match self.tokens.key_algorithm() {
                Some(algorithm) => keys.prepare(algorithm, self.longest_token, now).map_err(corrupt)?,
                None => false,
            };
            if !changed {
                self.tokens.set_keys(keys);
                return Ok(());
            }
            // Read again after a write, so that only stored keys sign.
            match self.entry.write(opened.as_ref(), &keys.to_bytes()).await {
                Ok(()) | Err(WriteError::Conflict) => {}
                Err(WriteError::Store(error)) => return Err(error),
            }
        }
    }

    /// Loads the keys because a token names one that is not known. At most once a second: callers who come sooner
    /// wait and share the next load.
    ///
    /// # Errors
    /// As [`TokenKeyStore::load`].
    pub async fn load_unknown(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let mut loaded = self.loaded.lock().await;
        if let Some(before) = *loaded {
            if before >= asked {
                return Ok(());
            }
            tokio::time::sleep_until(before + UNKNOWN_KEY_INTERVAL).await;
        }
        let began = Instant::now();
        self.load().await?;
        *loaded = Some(began);
        Ok(())
    }

    /// Loads the keys again and again.
    pub(super) async fn poll(self: Arc<Self>) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let mut loaded = self.loaded.lock().await;
            let began = Instant::now();
            let result = self.load().await;
            if result.is_ok() {
                *loaded = Some(began);
            }
            drop(loaded);
            if let Err(error) = result {
                tracing::warn!(%error, "loading the keys of access tokens failed");
            }
        }
    }
}

fn parse(content: &[u8]) -> Result<TokenKeys, StoreError> {
    TokenKeys::from_bytes(content).map_err(corrupt)
}

fn corrupt(error: InvalidTokenKeys) -> StoreError {
    Corruption::invalid(format!("the service key `{TOKENS}`"), error).into()
}
