//! What a caller asks of the log, and what it may be told.

use std::fmt;

use jiff::Timestamp;

use crate::canonical::CanonicalError;
use crate::error::StoreError;
use crate::event::{NewEvent, Position, StreamId};
use crate::idempotency::IdempotencyKey;
use crate::key_store::KeyId;

/// One append: one or more stream writes that happen whole or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    /// Who causes it: `user-…`, `token-…`, `operator:…` or `system`.
    pub actor: String,
    /// The request that causes it.
    pub request_id: String,
    /// The streams it writes to; each stream at most once.
    pub writes: Vec<StreamWrite>,
    /// Under which it happens at most once, whoever sends it however often.
    pub idempotency: Option<IdempotencyKey>,
}

impl Append {
    /// An append without an idempotency key.
    #[must_use]
    pub fn new(actor: impl Into<String>, request_id: impl Into<String>, writes: Vec<StreamWrite>) -> Self {
        Self { actor: actor.into(), request_id: request_id.into(), writes, idempotency: None }
    }

    /// The number of its events.
    pub(crate) fn events(&self) -> usize {
        self.writes.iter().map(|write| write.events.len()).sum()
    }
}

/// What an append does to one stream.
#[derive(Clone, Debug)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamId,
    /// What its version must be.
    pub expected: ExpectedVersion,
    /// The events to add, in order.
    pub events: Vec<NewEvent>,
    /// Claims that the stream takes.
    pub take: Vec<Claim>,
    /// Claims that the stream gives back; one that it does not hold is passed over.
    pub release: Vec<Claim>,
    /// Destroys the stream's key and all its claims: the last write that the stream will ever see.
    pub erase: bool,
}

impl StreamWrite {
    /// Events for a stream, without claims.
    #[must_use]
    pub fn new(stream: StreamId, expected: ExpectedVersion, events: Vec<NewEvent>) -> Self {
        Self { stream, expected, events, take: Vec::new(), release: Vec::new(), erase: false }
    }
}

/// What the version of a stream must be for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// The stream must not exist.
    NoStream,
    /// The stream must be at exactly this version.
    Exactly(u64),
    /// Any version will do.
    Any,
}

impl ExpectedVersion {
    /// The expectation of a caller who has read the stream up to `version`; zero is "there was none".
    #[must_use]
    pub fn version(version: u64) -> Self {
        if version == 0 { Self::NoStream } else { Self::Exactly(version) }
    }

    /// Whether a stream at `actual` (zero: no stream) is as expected.
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

/// Something that belongs to one stream at a time, such as an e-mail address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// What it is: `email`, `username`.
    pub kind: &'static str,
    /// Its value, normalised: equal values are equal claims. Only its keyed hash is ever stored.
    pub value: String,
}

/// The value is personal, so `Debug` tells only the kind.
impl fmt::Debug for Claim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Claim({})", self.kind)
    }
}

/// An append that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The position of its last event.
    pub position: Position,
    /// When it was committed.
    pub at: Timestamp,
    /// The version of each written stream after it, in the order of the writes.
    pub versions: Vec<u64>,
}

/// What one append of a batch is told.
pub type AppendResult = Result<Appended, AppendError>;

/// Why an append did not happen, or may have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// An append under the same idempotency key has happened: [`EventStore::recorded_result`] tells what came of it.
    ///
    /// [`EventStore::recorded_result`]: crate::EventStore::recorded_result
    #[error("an append under the same idempotency key has happened already")]
    DuplicateRequest,
    /// A stream was not at the expected version: read it again and decide anew.
    #[error("stream {stream} is at version {actual}, not at {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What the caller expected.
        expected: ExpectedVersion,
        /// What it is.
        actual: u64,
    },
    /// A claim belongs to another stream.
    #[error("the {kind} is taken")]
    ClaimTaken {
        /// Which claim: `email`, `username`.
        kind: &'static str,
    },
    /// The stream was erased and can never be written again.
    #[error("stream {stream} was erased: nothing can be appended to it")]
    Erased {
        /// The stream.
        stream: StreamId,
    },
    /// The key of a new stream is wrapped by a master key that no longer wraps new ones: it has to be wrapped by this one.
    /// [`EventStore::append`](crate::EventStore::append) does so by itself.
    #[error("the master key is being rotated: keys are wrapped by {master} now; try again")]
    WrappingKeyRotated {
        /// The master key that wraps new keys.
        master: KeyId,
    },
    /// An event is too large.
    #[error("a {event_type} event of {bytes} bytes is too large: at most {limit} are allowed")]
    TooLarge {
        /// Its type.
        event_type: String,
        /// Its canonical size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The request contradicts itself, or holds data that cannot be stored.
    #[error("not appendable: {0}")]
    Invalid(String),
    /// More appends are waiting than the queue holds; nothing was written. Try again shortly.
    #[error("too many appends are waiting; try again in a moment")]
    Busy,
    /// Nobody can tell whether it happened: the connection broke while the commit was under way.
    #[error("the outcome of the append is unknown: {0}")]
    Unknown(StoreError),
    /// Nothing was written, since the database could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CanonicalError> for AppendError {
    fn from(error: CanonicalError) -> Self {
        Self::Invalid(error.to_string())
    }
}
