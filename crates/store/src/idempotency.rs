//! Idempotency keys: an append executes at most once per key, and a repetition finds the recorded result of
//! the first. The record has keyed hashes and a position in the log, and is written in the transaction of the
//! append. HTTP responses are not stored; the replayed response belongs to the HTTP layer.

use std::fmt;

use aws_lc_rs::hmac;
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

impl IdempotencyKey {
    /// Binds a result to the request: HMAC-SHA-256 under the hash of the request, which is stored nowhere.
    /// Without it no result can be made that a request accepts.
    fn code(&self, stream: &StreamId, version: u64, position: Position, at: Timestamp) -> ClaimHash {
        let mut context =
            hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.request.as_bytes()));
        context.update(self.key.as_bytes());
        context.update(&version.to_be_bytes());
        context.update(&position.get().to_be_bytes());
        context.update(&at.as_millisecond().to_be_bytes());
        context.update(stream.as_str().as_bytes());
        ClaimHash::from_slice(context.sign().as_ref()).unwrap_or(self.request)
    }
}

/// The recorded result of the append that was executed with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedResult {
    /// The code that binds it to its request. Earlier releases stored the hash of the request.
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
    /// The result of the request with that key.
    pub(crate) fn new(
        key: &IdempotencyKey,
        stream: StreamId,
        version: u64,
        position: Position,
        at: Timestamp,
    ) -> Self {
        let request = key.code(&stream, version, position, at);
        Self { request, stream, version, position, at }
    }

    /// Whether it is the result of the same request: neither of another one with the same key, nor one that
    /// was planted in the database.
    #[must_use]
    pub fn is_for(&self, key: &IdempotencyKey) -> bool {
        let Self { request, stream, version, position, at } = self;
        *request == key.code(stream, *version, *position, *at) || *request == key.request
    }

    /// Whether the retention time has not passed.
    #[must_use]
    pub fn is_retained(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) < RETENTION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(request: &[u8]) -> IdempotencyKey {
        IdempotencyKey::new(&ClaimKey::new(&[1; 32]), &[b"key"], &[request])
    }

    #[test]
    fn result_answers_only_the_request_that_it_was_recorded_for() {
        let (asked, at) = (key(b"request"), Timestamp::UNIX_EPOCH);
        let stream = |name: &str| StreamId::new(name).unwrap();
        let recorded = RecordedResult::new(&asked, stream("user-1"), 1, Position::new(7), at);
        assert!(recorded.is_for(&asked));
        assert!(!recorded.is_for(&key(b"another request")));
        for planted in [
            RecordedResult { stream: stream("user-2"), ..recorded.clone() },
            RecordedResult { version: 2, ..recorded.clone() },
            RecordedResult { position: Position::new(8), ..recorded.clone() },
            RecordedResult { at: at + SignedDuration::from_hours(1), ..recorded.clone() },
        ] {
            assert!(!planted.is_for(&asked), "{planted:?}");
        }
        // As earlier releases recorded it, for the day that it is retained.
        assert!(RecordedResult { request: asked.request, ..recorded }.is_for(&asked));
    }
}
