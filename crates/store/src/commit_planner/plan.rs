//! What a backend reads for a batch, and what it writes.

use std::collections::HashMap;

use crate::append::AppendResult;
use crate::event::{Envelope, StreamId};
use crate::head::Head;
use crate::idempotency::RecordedResult;
use crate::key_store::{ClaimHash, KeyEntry, KeyId};

/// What a batch needs to know, read inside its transaction.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    /// The head, read first.
    pub head: Head,
    /// The versions of [`Batch::streams`]; a stream without events is left out.
    pub versions: HashMap<StreamId, u64>,
    /// The vault entries of [`Batch::streams`], with the claims that each holds.
    pub key_entries: HashMap<StreamId, (KeyEntry, Vec<ClaimHash>)>,
    /// The owners of [`Batch::claims`]; a free one is left out, and one may be whose entry in `vault` holds the claim.
    pub owners: HashMap<ClaimHash, StreamId>,
    /// What is kept under [`Batch::idempotency_keys`].
    pub recorded_results: HashMap<ClaimHash, RecordedResult>,
    /// The master key that wraps new keys: the one by which the service key
    /// [`SIGNING`](crate::rotation::SIGNING) is wrapped. Needed if the batch [makes keys](Batch::creates_keys).
    pub wrapping_key: Option<KeyId>,
}

/// What a batch writes.
#[derive(Clone, Debug)]
pub struct CommitPlan {
    /// The answer to each append, in the batch's order. They hold once the transaction is committed.
    pub results: Vec<AppendResult>,
    /// Claims to take away from streams that keep their key: to be written first.
    pub released: Vec<(StreamId, Vec<ClaimHash>)>,
    /// Streams whose key and claims are destroyed.
    pub erased: Vec<StreamId>,
    /// Streams that get their key, with the claims they hold from now on.
    pub new_keys: Vec<(StreamId, Vec<u8>, Vec<ClaimHash>)>,
    /// Claims to give to streams that had a key before: to be written after all releases.
    pub taken: Vec<(StreamId, Vec<ClaimHash>)>,
    /// The accepted events, by ascending position.
    pub events: Vec<Envelope>,
    /// What to keep under idempotency keys, in place of what is there.
    pub recorded_results: Vec<(ClaimHash, RecordedResult)>,
    /// The head after them; equal to the head before if nothing was accepted.
    pub head: Head,
}
