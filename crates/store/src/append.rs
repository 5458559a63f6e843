//! The request to append events, with expected versions (optimistic concurrency) and unique claims, and its
//! result.
//!
//! Deciding whether an append is accepted belongs in [`commit_planner`](crate::commit_planner).

use std::fmt;

use jiff::Timestamp;

use crate::canonical::CanonicalError;
use crate::error::StoreError;
use crate::event::{NewEvent, Position, StreamId};
use crate::idempotency::IdempotencyKey;
use crate::key_store::KeyId;
use crate::log_time::ClockJump;
use crate::sessions::EndSessions;

/// One append: writes to one or more streams, committed atomically.
#[derive(Clone, Debug)]
pub struct Append {
    /// The actor recorded in the events: `user-…`, `token-…`, `operator:…` or `system`.
    pub actor: String,
    /// The id of the request that causes it.
    pub request_id: String,
    /// The writes; at most one for each stream.
    pub writes: Vec<StreamWrite>,
    /// What must hold besides the expected versions of the writes.
    pub guards: Vec<Guard>,
    /// Of several appends with the same idempotency key, one is committed.
    pub idempotency: Option<IdempotencyKey>,
}

impl Append {
    /// An append without an idempotency key.
    #[must_use]
    pub fn new(actor: impl Into<String>, request_id: impl Into<String>, writes: Vec<StreamWrite>) -> Self {
        Self {
            actor: actor.into(),
            request_id: request_id.into(),
            writes,
            guards: Vec::new(),
            idempotency: None,
        }
    }

    /// The number of its events.
    pub(crate) fn events(&self) -> usize {
        self.writes.iter().map(|write| write.events.len()).sum()
    }
}

/// A condition on the state that the append leaves behind, checked in its commit.
#[derive(Clone, Debug)]
pub enum Guard {
    /// The stream is not erased.
    NotErased(StreamId),
    /// No stream owns the claim.
    Unclaimed(Claim),
    /// The stream is at this version before the append.
    AtVersion(StreamId, u64),
}

/// The part of an append that concerns one stream.
#[derive(Clone, Debug)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamId,
    /// The version that the stream must have (optimistic concurrency).
    pub expected: ExpectedVersion,
    /// The events to add, in order.
    pub events: Vec<NewEvent>,
    /// Unique claims that the stream takes.
    pub take: Vec<Claim>,
    /// Unique claims that the stream takes unless another stream holds them then.
    pub take_if_free: Vec<Claim>,
    /// Unique claims that the stream releases; those that it does not own are ignored.
    pub release: Vec<Claim>,
    /// Destroys the data key of the stream and all its claims (crypto-shredding). The stream accepts no
    /// further write.
    pub erase: bool,
    /// The sessions of the stream that end with the commit; all of them if it is erased.
    pub end_sessions: EndSessions,
}

impl StreamWrite {
    /// Whether the stream may get claims.
    pub(crate) fn takes_claims(&self) -> bool {
        !(self.take.is_empty() && self.take_if_free.is_empty())
    }

    /// Events for a stream, without changes of claims.
    #[must_use]
    pub fn new(stream: StreamId, expected: ExpectedVersion, events: Vec<NewEvent>) -> Self {
        Self {
            stream,
            expected,
            events,
            take: Vec::new(),
            take_if_free: Vec::new(),
            release: Vec::new(),
            erase: false,
            end_sessions: EndSessions::None,
        }
    }
}

/// The version that a stream must have for a write to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// The stream must not exist.
    NoStream,
    /// The stream must be at exactly this version.
    Exactly(u64),
    /// The stream may be at any version.
    Any,
}

impl ExpectedVersion {
    /// The expectation of a caller that has read the stream up to `version`; zero means that it does not
    /// exist.
    #[must_use]
    pub fn version(version: u64) -> Self {
        if version == 0 { Self::NoStream } else { Self::Exactly(version) }
    }

    /// Whether a stream at version `actual` (zero: no stream) meets the expectation.
    #[must_use]
    pub fn holds(self, actual: u64) -> bool {
        match self {
            Self::NoStream => actual == 0,
            Self::Exactly(version) => actual == version,
            Self::Any => true,
        }
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStream => out.write_str("no stream"),
            Self::Exactly(version) => write!(out, "version {version}"),
            Self::Any => out.write_str("any version"),
        }
    }
}

/// A unique claim: a value that at most one stream owns at a time, such as an e-mail address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The kind of value: `email`, `username`.
    pub kind: &'static str,
    /// The normalised value: equal values are the same claim. Only its keyed hash is stored.
    pub value: String,
}

/// The value is personal data, so `Debug` shows only the kind.
impl fmt::Debug for Claim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Claim({})", self.kind)
    }
}

/// The result of a committed append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The position of its last event.
    pub position: Position,
    /// When it was committed.
    pub at: Timestamp,
    /// The version of each written stream afterwards, in the order of the writes.
    pub versions: Vec<u64>,
}

/// The result of one append of a batch.
pub type AppendResult = Result<Appended, AppendError>;

/// Why an append was not committed, or may not have been.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// An append with the same idempotency key was committed earlier: [`EventStore::recorded_result`] returns
    /// its result.
    ///
    /// [`EventStore::recorded_result`]: crate::EventStore::recorded_result
    #[error("an append with the same idempotency key was committed earlier")]
    DuplicateRequest,
    /// A stream is not at the expected version (optimistic concurrency). Read it again and decide again.
    #[error("stream {stream} is at version {actual}, not at {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The version that the caller expected.
        expected: ExpectedVersion,
        /// The version of the stream.
        actual: u64,
    },
    /// Another stream owns the claim, or a guard requires it to be free.
    #[error("the {kind} is taken")]
    ClaimTaken {
        /// The kind of the claim: `email`, `username`.
        kind: &'static str,
    },
    /// The stream was erased: it accepts no further write, and a guard on it fails.
    #[error("stream {stream} was erased; it accepts no further events")]
    Erased {
        /// The stream.
        stream: StreamId,
    },
    /// The data key of a new stream is wrapped by a master key that a rotation has replaced.
    /// [`EventStore::append`](crate::EventStore::append) wraps it with the current one and retries.
    #[error("the master key was rotated: new data keys are wrapped by {master}; retry")]
    WrappingKeyRotated {
        /// The master key that wraps new data keys.
        master: KeyId,
    },
    /// An event exceeds the maximum size.
    #[error("an event {event_type} of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The type of the event.
        event_type: String,
        /// The size of its canonical form.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The append contradicts itself, or contains data that cannot be stored.
    #[error("invalid append: {0}")]
    Invalid(String),
    /// The append queue is full or closed; nothing was written. Retry later.
    #[error("the append queue is full; retry later")]
    Busy,
    /// The clock of this machine jumped ahead; nothing was written.
    #[error(transparent)]
    ClockJumped(#[from] ClockJump),
    /// The outcome cannot be determined: the commit was sent and not answered in time.
    #[error("the outcome of the append is unknown: {0}")]
    Unknown(StoreError),
    /// The database failed; nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AppendError {
    /// A stream that is sealed under the key of another one cannot be written to before that one has a key.
    pub(crate) fn no_key_owner(stream: &StreamId) -> Self {
        Self::Invalid(format!("{} has no data key to seal stream {stream} under", stream.key_owner()))
    }
}

impl From<CanonicalError> for AppendError {
    fn from(error: CanonicalError) -> Self {
        Self::Invalid(error.to_string())
    }
}
