//! Findings of verification: what is wrong, and at which position.

use std::fmt;

use jiff::Timestamp;

use crate::canonical::CanonicalError;
use crate::error::{Corruption, MissingKey, StoreError};
use crate::event::{Position, StreamId};

/// A violated invariant of the log, and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The position of the event, or of the last event of the stream concerned; zero if it concerns no event.
    pub position: Position,
    /// What is wrong.
    pub kind: FindingKind,
}

impl Finding {
    /// Creates a finding.
    #[must_use]
    pub fn new(position: Position, kind: FindingKind) -> Self {
        Self { position, kind }
    }
}

/// `position 3: … [code]`.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "position {}: {} [{}]", self.position, self.kind, self.kind.code())
    }
}

/// The kinds of findings on the log, its head, its key store and its tiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindingKind {
    /// Positions have no gaps, so the event was removed.
    #[error("the event is missing; the next stored event is at position {next}")]
    EventMissing {
        /// The position of the next stored event.
        next: Position,
    },
    /// The events up to the head end early.
    #[error("the event is missing, though the head is at position {head}")]
    EventMissingBeforeHead {
        /// The position of the head.
        head: Position,
    },
    /// The log is shorter than it was when the trusted checkpoint was signed.
    #[error(
        "the event is missing: the checkpoint was signed for {signed} events, and the log ends at position \
         {last}. The end of the log was cut off"
    )]
    LogTruncated {
        /// The number of events that were signed.
        signed: u64,
        /// The last position of the log.
        last: Position,
    },
    /// The event was never committed, or the head was rolled back.
    #[error("the event is beyond the head, which is at position {head}")]
    EventBeyondHead {
        /// The position of the head.
        head: Position,
    },
    /// The versions of a stream have a gap or a duplicate.
    #[error("stream {stream} has version {found} where version {expected} was expected")]
    StreamVersionMismatch {
        /// The stream.
        stream: StreamId,
        /// The version that follows the one before.
        expected: u64,
        /// The stored version.
        found: u64,
    },
    /// Times never fall as positions rise.
    #[error("its time {at} is before that of the previous event, {previous}")]
    TimeReversed {
        /// The time of the event.
        at: Timestamp,
        /// The time of the event before.
        previous: Timestamp,
    },
    /// The stored leaf hash is not the hash of the event.
    #[error("the leaf hash does not match the event: one of them was changed")]
    LeafMismatch,
    /// The event has no canonical form, so it was never appended.
    #[error(transparent)]
    NonCanonical(#[from] CanonicalError),
    /// The log does not begin with the events of the trusted checkpoint.
    #[error("the events up to this position are not those that the checkpoint was signed for")]
    CheckpointMismatch,
    /// The time of the head is not that of the last event.
    #[error("the time of the head differs from that of the last event")]
    HeadTimeMismatch,
    /// A clock that was ahead stamped the last event.
    #[error(
        "the time of the head, {at}, is in the future: it is {now}. A clock that was ahead stamped the event; \
         until then, later events get the same time"
    )]
    HeadInFuture {
        /// The time of the head.
        at: Timestamp,
        /// The time of the verification.
        now: Timestamp,
    },
    /// The root of the head does not follow from the leaf hashes.
    #[error("the root of the head does not follow from the leaf hashes")]
    HeadRootMismatch,
    /// The frontier of the head does not follow from the leaf hashes.
    #[error("the frontier of the head does not follow from the leaf hashes")]
    HeadFrontierMismatch,
    /// The signed checkpoint of the head is not that of its position and root.
    #[error("the signature of the head does not match its position and root")]
    HeadSignatureMismatch,
    /// The log was rewritten from here on: a tile still has the original leaf hash.
    #[error("the leaf hash differs from the one in the tiles; and {later}")]
    TileLeafMismatch {
        /// What else is wrong, at a later position.
        later: Box<Finding>,
    },
    /// The log is the one that was signed, and only the tiles, which are derived from it, are wrong.
    #[error(
        "the leaf hash in the tiles differs from that of the event, though the log is the one that was \
         signed: drop `tiles`; they are rebuilt from the log"
    )]
    TilesDamaged,
    /// A stream with personal data or claims has no entry in the key store.
    #[error("stream {stream} has no entry in the key store")]
    KeyEntryMissing {
        /// The stream.
        stream: StreamId,
    },
    /// The key store has an entry that no event explains.
    #[error("stream {stream} has an entry in the key store but no event")]
    KeyEntryOrphaned {
        /// The stream.
        stream: StreamId,
    },
    /// The data key was destroyed, and no event erased the stream.
    #[error("the data key of stream {stream} was destroyed, and no event says that the stream was erased")]
    KeyDestroyed {
        /// The stream.
        stream: StreamId,
    },
    /// The stream was erased and its entry is not a bare tombstone.
    #[error("stream {stream} was erased but still holds claims")]
    ClaimsAfterErasure {
        /// The stream.
        stream: StreamId,
    },
    /// The stream was erased and has a data key.
    #[error("stream {stream} was erased but has a data key")]
    KeyAfterErasure {
        /// The stream.
        stream: StreamId,
    },
    /// The stored claims are not those that the events have taken and not released.
    #[error("the key store lacks {missing} claims of stream {stream} and has {unexpected} unexpected ones")]
    ClaimsMismatch {
        /// The stream.
        stream: StreamId,
        /// How many claims of the events are not stored.
        missing: usize,
        /// How many stored claims no event has taken.
        unexpected: usize,
    },
    /// The stream should have been erased with its owner.
    #[error("stream {stream} is not erased, though its owner {owner} is")]
    OutlivesOwner {
        /// The stream.
        stream: StreamId,
        /// The stream of its owner.
        owner: StreamId,
    },
    /// The event belongs to a stream that never existed: such an event was never appended.
    #[error("stream {stream} belongs to {owner}, which has no event before this one")]
    KeyOwnerMissing {
        /// The stream of the event.
        stream: StreamId,
        /// The stream whose data key seals it.
        owner: StreamId,
    },
    /// The event belongs to a stream that was erased: such an event was never appended.
    #[error("stream {stream} has an event although {owner} was erased before")]
    EventAfterErasure {
        /// The stream of the event.
        stream: StreamId,
        /// The stream whose data key sealed it.
        owner: StreamId,
    },
    /// The event does not decode into an event of the domain.
    #[error("the event cannot be decoded: {reason}")]
    UndecodableEvent {
        /// The decoder's message; never a personal value.
        reason: String,
    },
    /// A stored record cannot be decoded.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// A wrapped key names a master key that was not given. It was changed, or a master key was lost.
    #[error(transparent)]
    KeyMissing(#[from] MissingKey),
    /// The actor did not hold a role that permits the event: the event was appended by means of a forged row,
    /// or by a version that did not check the log.
    #[error("{actor} held no role at this position that permits {event_type}")]
    ActorUnauthorized {
        /// The actor.
        actor: String,
        /// The type of the event.
        event_type: String,
    },
    /// A projection has applied events that are no longer in the log.
    #[error("the checkpoint of projection table `{table}` is ahead of the head, which is at position {head}")]
    ProjectionAheadOfLog {
        /// The table.
        table: String,
        /// The position of the head.
        head: Position,
    },
}

impl FindingKind {
    /// The finding that an event, or the record of its key, cannot be read; other errors are no findings.
    pub(super) fn unreadable(error: StoreError) -> Result<Self, StoreError> {
        match error {
            StoreError::Corrupt(corruption) => Ok(corruption.into()),
            StoreError::KeyMissing(missing) => Ok(missing.into()),
            error => Err(error),
        }
    }

    /// A stable, machine-readable name of the variant, or of the [`Corruption`] within.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::EventMissing { .. } => "event_missing",
            Self::EventMissingBeforeHead { .. } => "event_missing_before_head",
            Self::LogTruncated { .. } => "log_truncated",
            Self::EventBeyondHead { .. } => "event_beyond_head",
            Self::StreamVersionMismatch { .. } => "stream_version_mismatch",
            Self::TimeReversed { .. } => "time_reversed",
            Self::LeafMismatch => "leaf_mismatch",
            Self::NonCanonical(_) => "not_canonical",
            Self::CheckpointMismatch => "checkpoint_mismatch",
            Self::HeadTimeMismatch => "head_time_mismatch",
            Self::HeadInFuture { .. } => "head_in_future",
            Self::HeadRootMismatch => "head_root_mismatch",
            Self::HeadFrontierMismatch => "head_frontier_mismatch",
            Self::HeadSignatureMismatch => "head_signature_mismatch",
            Self::TileLeafMismatch { .. } => "tile_leaf_mismatch",
            Self::TilesDamaged => "tiles_damaged",
            Self::KeyEntryMissing { .. } => "key_entry_missing",
            Self::KeyEntryOrphaned { .. } => "key_entry_orphaned",
            Self::KeyDestroyed { .. } => "key_destroyed",
            Self::ClaimsAfterErasure { .. } => "claims_after_erasure",
            Self::KeyAfterErasure { .. } => "key_after_erasure",
            Self::ClaimsMismatch { .. } => "claims_mismatch",
            Self::OutlivesOwner { .. } => "outlives_owner",
            Self::KeyOwnerMissing { .. } => "key_owner_missing",
            Self::EventAfterErasure { .. } => "event_after_erasure",
            Self::UndecodableEvent { .. } => "undecodable_event",
            Self::Corrupt(corruption) => corruption.code(),
            Self::KeyMissing(_) => "key_missing",
            Self::ActorUnauthorized { .. } => "actor_unauthorized",
            Self::ProjectionAheadOfLog { .. } => "projection_ahead_of_log",
        }
    }
}

/// Why a log was not verified.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VerifyError {
    /// An invariant of the log is violated.
    #[error("{0}")]
    Found(Finding),
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl VerifyError {
    pub(super) fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Found(finding) => Some(finding),
            Self::Store(_) => None,
        }
    }
}

impl From<Finding> for VerifyError {
    fn from(finding: Finding) -> Self {
        Self::Found(finding)
    }
}
