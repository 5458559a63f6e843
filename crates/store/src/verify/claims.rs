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
    /// Claims that it releases.
    pub release: Vec<Claim>,
    /// Whether the event erases its stream: the data key and all claims are destroyed.
    pub erases: bool,
    /// The stream on whose erasure the event's stream must be erased too: that of its owner.
    pub owner: Option<StreamId>,
}

/// Derives from an event which claims it takes and releases, or why it cannot be decoded.
pub type ClaimReader = fn(&StoredEvent) -> Result<ClaimChange, String>;

/// What one event does to the key store entry of its stream.
pub(super) struct EventEffects {
    pub(super) stream: StreamId,
    pub(super) position: Position,
    pub(super) is_sealed: bool,
    pub(super) erases: bool,
    pub(super) owner: Option<StreamId>,
    pub(super) taken: Vec<ClaimHash>,
    pub(super) released: Vec<ClaimHash>,
}

/// The entry of a stream in the key store, with its claims.
pub(super) type StoredEntry = (KeyEntry, Vec<ClaimHash>);
/// The entries of several streams.
pub(super) type StoredEntries = HashMap<StreamId, StoredEntry, RandomState>;
