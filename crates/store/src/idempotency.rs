//! Idempotency keys: an append executes at most once per key, and a repetition finds the recorded result of
//! the first. The record has keyed hashes and a position in the log, and is written in the transaction of the
//! append. HTTP responses are not stored; the replayed response belongs to the HTTP layer.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::event::{Position, StreamId};
use crate::key_store::{ClaimHash, ClaimKey};

/// How long a result is retained. Afterwards the key can be used again.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// The maximum number of expired records that a commit deletes which records `recorded` results. A day's
/// records may expire at once, and deleting them all would hold up every append. Twice as many are deleted as
/// are recorded, so that a backlog shrinks; 64 take about a millisecond.
#[must_use]
pub fn expired_per_commit(recorded: usize) -> usize {
    const AT_LEAST: usize = 64;
    AT_LEAST.max(2 * recorded)
}

/// An idempotency key and the request it is used for, both as keyed hashes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub(crate) key: ClaimHash,
    pub(crate) request: ClaimHash,
}

/// Prints only the beginning of the hash.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "IdempotencyKey({:?})", self.key)
    }
}

impl IdempotencyKey {
    /// `scope` is the caller, the endpoint and the key itself; `request` is everything that identifies the
    /// write.
    pub(crate) fn new(claims: &ClaimKey, scope: &[&[u8]], request: &[&[u8]]) -> Self {
        Self {
            key: claims.hash_parts("idempotency-key", scope),
            request: claims.hash_parts("idempotency-request", request),
        }
    }

    /// The hash under which the result is stored.
    #[must_use]
    pub fn hash(&self) -> ClaimHash {
        self.key
    }
}

/// The recorded result of the append that was executed with an idempotency key.
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
    /// Whether it is the result of the same request, not of another one with the same key.
    #[must_use]
    pub fn is_for(&self, key: &IdempotencyKey) -> bool {
        self.request == key.request
    }

    /// Whether the retention time has not passed.
    #[must_use]
    pub fn is_retained(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) < RETENTION
    }
}
