//! Rotation of the master key (KEK) of the envelope encryption: rewraps every data key (DEK) and service key
//! by the current master key, while other processes read and append. Only the wrapping changes; the keys
//! themselves and all ciphertexts stay the same. Loading master keys belongs to
//! [`key_store`](crate::key_store).
//!
//! A rotation has three steps and can be repeated after an interruption at any point:
//!
//! 1. Rewrap the service key [`SIGNING`]. Its master key is the one by which the data keys of new streams
//!    must be wrapped ([`Preconditions::wrapping`](crate::commit_planner::Preconditions)), so from here on no
//!    new key is wrapped by another.
//! 2. Rewrap the data key of each stream by compare-and-set, so that a stream erased in the meantime stays
//!    erased.
//! 3. Rewrap the service keys [`TOKENS`], if there are any, and [`CLAIMS`], once no stream is left. A process unwraps both service keys at
//!    startup, so it does not start without a master key that streams still need.

mod rewrap;
mod sealed_entry;
mod service_keys;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::env::Env;
use crate::error::{StoreError, WriteError};
use crate::event::StreamId;
use crate::key_store::{KeyId, MasterKeys};

pub use rewrap::RotationSummary;
pub use sealed_entry::{OpenedEntry, SealedEntry};
pub(crate) use service_keys::{check_masters, owner, service_key, service_key_bytes};
pub use usage::{MasterKeyUsage, WrappedCount};

/// The service key that hashes the claims. It is rewrapped last, so its master key is the oldest one still
/// needed.
pub const CLAIMS: &str = "claims";
/// The service key that signs checkpoints. Its master key is the one that wraps new data keys.
pub const SIGNING: &str = "signing";
/// The keys that sign access tokens, in one entry of the service keys. Databases whose service signs with a
/// shared secret have none.
pub const TOKENS: &str = "tokens";

/// A stream and its wrapped data key.
pub type WrappedKey = (StreamId, Vec<u8>);

/// A compare-and-set of a stream's wrapped key.
#[derive(Clone, Debug)]
pub struct KeyReplacement {
    /// The stream whose data key it is.
    pub stream: StreamId,
    /// The expected wrapped key.
    pub from: Vec<u8>,
    /// The new wrapped key.
    pub to: Vec<u8>,
}

/// The wrapped keys of a database.
#[async_trait]
pub trait WrappedKeyStore: Send + Sync {
    /// Reads the service keys by name, majority-committed.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError>;

    /// Counts, within the database, how many data keys each master key wraps; under `None` those that do not
    /// have the [size](crate::key_store::WRAPPED_BYTES) of a wrapped key. `known` are the expected ids;
    /// counting others is slower.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be counted.
    async fn count_keys(&self, known: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError>;

    /// Reads at most `limit` wrapped keys of streams after `after`, in ascending order, without erased
    /// streams.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn wrapped_keys(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<WrappedKey>, StoreError>;

    /// Replaces each key by compare-and-set and returns how many were replaced. Durable, like an append.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails; some of the keys may have been replaced.
    async fn replace_keys(&self, changes: &[KeyReplacement]) -> Result<u64, StoreError>;

    /// Adds a service key, durably.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if there is one of that name.
    async fn add_service_key(&self, name: &str, wrapped: &[u8]) -> Result<(), WriteError>;

    /// Replaces a service key by compare-and-set, serialised with the commits of batches: each batch commits
    /// entirely before or after it.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the stored key is not `from`.
    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<(), WriteError>;
}

/// A rotation of the wrapped keys of one database.
pub struct Rotation {
    stored: Arc<dyn WrappedKeyStore>,
    masters: Arc<MasterKeys>,
    env: Env,
}

impl Rotation {
    /// A rotation to the current one of these master keys.
    #[must_use]
    pub fn new(stored: Arc<dyn WrappedKeyStore>, masters: Arc<MasterKeys>, env: Env) -> Self {
        Self { stored, masters, env }
    }
}
