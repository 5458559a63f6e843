//! The input and the output of the commit planner: what a backend reads for a batch, and what it then writes.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::append::AppendResult;
use crate::event::{Envelope, StreamId};
use crate::head::Head;
use crate::idempotency::RecordedResult;
use crate::key_store::{ClaimHash, KeyEntry, KeyId};
use crate::sessions::EndSessions;

/// The stored state that a batch is planned on, read inside its transaction.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    /// The head of the log, read first.
    pub head: Head,
    /// The time in the transaction, if the database has a clock of its own that all nodes share.
    pub database_time: Option<Timestamp>,
    /// The versions of [`Batch::streams`](super::Batch::streams); streams without events are omitted.
    pub versions: HashMap<StreamId, u64>,
    /// The key entries of [`Batch::streams`](super::Batch::streams), with the claims that each stream owns.
    pub key_entries: HashMap<StreamId, (KeyEntry, Vec<ClaimHash>)>,
    /// The owners of [`Batch::claims`](super::Batch::claims). Free claims are omitted; so may be those
    /// contained in `key_entries`.
    pub owners: HashMap<ClaimHash, StreamId>,
    /// The recorded results of [`Batch::idempotency_keys`](super::Batch::idempotency_keys).
    pub recorded_results: HashMap<ClaimHash, RecordedResult>,
    /// The master key that wraps new data keys: the one that wraps the service key
    /// [`SIGNING`](crate::rotation::SIGNING). Required if
    /// [`Batch::creates_keys`](super::Batch::creates_keys).
    pub wrapping_key: Option<KeyId>,
}

/// What a batch writes, in the order of the fields.
#[derive(Clone, Debug)]
pub struct CommitPlan {
    /// The result of each append, in the order of the batch; valid once the transaction is committed.
    pub results: Vec<AppendResult>,
    /// Claims to remove from streams that keep their data key.
    pub released: Vec<(StreamId, Vec<ClaimHash>)>,
    /// Streams whose data key and claims are destroyed (crypto-shredding). Their delivery cursors and attempts
    /// are deleted.
    pub erased: Vec<StreamId>,
    /// Streams that get a data key, with the claims that they take.
    pub new_keys: Vec<(StreamId, Vec<u8>, Vec<ClaimHash>)>,
    /// Claims to add to streams that had a data key before. Written after all releases: claims are unique.
    pub taken: Vec<(StreamId, Vec<ClaimHash>)>,
    /// Sessions to end, in this order.
    pub ended_sessions: Vec<(StreamId, EndSessions)>,
    /// The accepted events, by ascending position.
    pub events: Vec<Envelope>,
    /// Results to record under idempotency keys, replacing expired ones.
    pub recorded_results: Vec<(ClaimHash, RecordedResult)>,
    /// The new head; the old one if no append was accepted.
    pub head: Head,
}
