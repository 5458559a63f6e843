//! What events do to the key store: the data keys and unique claims that must exist because of them.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::append::Claim;
use crate::event::{Position, StoredEvent, StreamId};
use crate::key_store::{ClaimHash, KeyEntry};

/// The claims that an event takes and releases.
#[derive(Clone, Debug, Default)]
pub struct ClaimChange {
    /// Claims that the event's stream takes.
    pub take: Vec<Claim>,
    /// Claims that it takes unless it was appended before they were introduced and another stream holds them
    /// ([`EventStore::backfill_claims`](crate::EventStore::backfill_claims)).
    pub take_if_free: Vec<Claim>,
    /// Claims that it releases.
    pub release: Vec<Claim>,
    /// Claims that it releases if its stream holds them, as [`ClaimChange::take_if_free`] lets it lack them.
    pub release_if_held: Vec<Claim>,
    /// Whether the event erases its stream: the data key and all claims are destroyed.
    pub erases: bool,
    /// The stream on whose erasure the event's stream must be erased too: that of its owner.
    pub owner: Option<StreamId>,
}

/// Derives from an event which claims it takes and releases, or why it cannot be decoded.
pub type ClaimReader = fn(&StoredEvent) -> Result<ClaimChange, String>;

/// What one event does to the key store entry of its stream.
pub(crate) struct EventEffects {
    pub(crate) stream: StreamId,
    pub(crate) position: Position,
    pub(crate) is_sealed: bool,
    pub(crate) erases: bool,
    pub(crate) owner: Option<StreamId>,
    pub(crate) taken: Vec<ClaimHash>,
    pub(crate) taken_if_free: Vec<ClaimHash>,
    pub(crate) released: Vec<ClaimHash>,
    pub(crate) released_if_held: Vec<ClaimHash>,
}

/// The entry of a stream in the key store, with its claims.
pub(crate) type StoredEntry = (KeyEntry, Vec<ClaimHash>);
/// The entries of several streams.
pub(super) type StoredEntries = HashMap<StreamId, StoredEntry, RandomState>;
