//! Replacing the master key: everything that is wrapped by an older one is wrapped anew, beside processes that read and
//! append. Only the wrapping changes; the wrapped keys, and what is sealed under them, stay as they are.
//!
//! There are three steps, and whoever is interrupted after any of them can begin again:
//!
//! 1. The service key [`SIGNING`]. Its master key is the one that the keys of new streams have to be wrapped by
//!    ([`Preconditions::wrapping`](crate::commit_planner::Preconditions)), so from here on none comes that is wrapped by another.
//! 2. The key of each stream that an older one wraps, compared and set: what somebody erases meanwhile stays erased.
//! 3. The service key [`CLAIMS`], once no stream is left. A process opens both service keys before anything else, so
//!    one that lacks a master key which streams still need does not start.

mod rewrap;
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
pub(crate) use service_keys::{check_masters, owner, service_key};
pub use usage::{MasterKeyUsage, WrappedCount};

/// The service key that all claims are hashed with. Its master key is the oldest that anything needs.
pub const CLAIMS: &str = "claims";
/// The service key that signs checkpoints. Its master key is the one that new keys are wrapped by.
pub const SIGNING: &str = "signing";

/// A stream with its wrapped key.
pub type WrappedKey = (StreamId, Vec<u8>);

/// A wrapped key that is replaced if it is still as it was.
#[derive(Clone, Debug)]
pub struct KeyReplacement {
    /// Whose.
    pub stream: StreamId,
    /// What is stored.
    pub from: Vec<u8>,
    /// What is to be stored instead.
    pub to: Vec<u8>,
}

/// A database as the place where wrapped keys are.
#[async_trait]
pub trait WrappedKeyStore: Send + Sync {
    /// The service keys by name, as a majority knows them.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError>;

    /// How many streams' keys each master key wraps, counted within the database; under `None` what has not the
    /// [size](crate::key_store::WRAPPED_BYTES) of a wrapped key. `known` are ids to be expected: others take longer to count.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be counted.
    async fn count_keys(&self, known: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError>;

    /// The keys of the streams above one, or from the first on, by ascending stream, at most `limit`. Erased streams are
    /// left out.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn wrapped_keys(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<WrappedKey>, StoreError>;

    /// Replaces each key that is still as it was, and nothing else; says how many were. Durable, like an append.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done; some of them may have been replaced.
    async fn replace_keys(&self, changes: &[KeyReplacement]) -> Result<u64, StoreError>;

    /// Replaces a service key by compare-and-set, serialised with the commits of batches: each batch commits entirely
    /// before or after it.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the stored key is not `from`.
    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<(), WriteError>;
}

/// The master keys of a database, and what they wrap.
pub struct Rotation {
    stored: Arc<dyn WrappedKeyStore>,
    masters: Arc<MasterKeys>,
    env: Env,
}

impl Rotation {
    /// From the keys that were given, to the current one among them.
    #[must_use]
    pub fn new(stored: Arc<dyn WrappedKeyStore>, masters: Arc<MasterKeys>, env: Env) -> Self {
        Self { stored, masters, env }
    }
}
