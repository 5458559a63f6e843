//! Idempotency keys: a caller who does not know whether a write was done sends it again under the same key and is told
//! of the first. What is kept holds no answer and no body, only keyed hashes and a place in the log, and is written in
//! the append's own transaction: it is there if, and only if, the append is.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::event::{Position, StreamId};
use crate::key_store::{ClaimHash, ClaimKey};

/// How long a first result is kept. After that the key is as good as new.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// A caller's key for a write, and what the write is; both as keyed hashes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub(crate) key: ClaimHash,
    pub(crate) request: ClaimHash,
}

/// Only the beginning of the key's hash.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "IdempotencyKey({:?})", self.key)
    }
}

impl IdempotencyKey {
    /// `scope` is what the key belongs to: the caller, the endpoint and the key itself; `request` is all that makes
    /// the write what it is.
    pub(crate) fn new(claims: &ClaimKey, scope: &[&[u8]], request: &[&[u8]]) -> Self {
        Self {
            key: claims.hash_parts("idempotency-key", scope),
            request: claims.hash_parts("idempotency-request", request),
        }
    }

    /// The hash under which the first result is kept.
    #[must_use]
    pub fn hash(&self) -> ClaimHash {
        self.key
    }
}

/// What the first append under a key has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedResult {
    /// The hash of its request.
    pub request: ClaimHash,
    /// The stream of its first write.
    pub stream: StreamId,
    /// That stream's version after it.
    pub version: u64,
    /// The position of its last event.
    pub position: Position,
    /// When it was committed.
    pub at: Timestamp,
}

impl RecordedResult {
    /// Whether it is the result of this very request, and not of another one under the same key.
    #[must_use]
    pub fn is_for(&self, key: &IdempotencyKey) -> bool {
        self.request == key.request
    }

    /// Whether it still counts.
    #[must_use]
    pub fn is_retained(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) < RETENTION
    }
}
