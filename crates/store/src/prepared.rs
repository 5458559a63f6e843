//! Appends as they are queued for the group commit: personal data encrypted, claims hashed.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::append::ExpectedVersion;
use crate::cancellation::Cancellation;
use crate::event::{Envelope, Position, StreamId};
use crate::idempotency::IdempotencyKey;
use crate::key_store::ClaimHash;
use crate::sessions::EndSessions;

/// An append with personal data encrypted and claims hashed.
#[derive(Clone, Debug)]
pub struct PreparedAppend {
    pub(crate) actor: String,
    pub(crate) request_id: String,
    pub(crate) writes: Vec<PreparedWrite>,
    pub(crate) guards: Vec<PreparedGuard>,
    pub(crate) idempotency: Option<IdempotencyKey>,
    /// The approximate size in bytes, by which batches are bounded.
    pub(crate) bytes: usize,
    /// Whether its caller still waits for it.
    pub(crate) cancellation: Cancellation,
}

impl PreparedAppend {
    /// The number of its events.
    pub(crate) fn events(&self) -> usize {
        self.writes.iter().map(|write| write.events.len()).sum()
    }
}

/// A guard with its claim hashed.
#[derive(Clone, Debug)]
pub(crate) enum PreparedGuard {
    NotErased(StreamId),
    Unclaimed(&'static str, ClaimHash),
    AtVersion(StreamId, u64),
}

/// A stream write with personal data encrypted and claims hashed.
#[derive(Clone, Debug)]
pub(crate) struct PreparedWrite {
    pub(crate) stream: StreamId,
    pub(crate) expected: ExpectedVersion,
    pub(crate) events: Vec<PreparedEvent>,
    pub(crate) take: Vec<(&'static str, ClaimHash)>,
    pub(crate) take_if_free: Vec<ClaimHash>,
    pub(crate) release: Vec<ClaimHash>,
    pub(crate) key: KeyUse,
    pub(crate) erase: bool,
    pub(crate) end_sessions: EndSessions,
}

/// The data key that a write is encrypted with.
#[derive(Clone, Debug)]
pub(crate) enum KeyUse {
    /// The write has no personal data and takes no claim, so it needs no key.
    None,
    /// The stream's data key, which must still exist at the commit.
    Existing,
    /// A new wrapped data key: the stream had none.
    New(Vec<u8>),
}

/// An event with its personal data encrypted.
#[derive(Clone, Debug)]
pub(crate) struct PreparedEvent {
    pub(crate) id: Uuid,
    pub(crate) event_type: String,
    pub(crate) schema: u32,
    pub(crate) data: Map<String, Value>,
    pub(crate) sealed: Option<Vec<u8>>,
}

impl PreparedEvent {
    /// The event at its placement in the log, without its leaf hash.
    pub(crate) fn to_envelope(
        &self,
        append: &PreparedAppend,
        stream: &StreamId,
        placement: EventPlacement,
    ) -> Envelope {
        Envelope {
            position: placement.position,
            id: self.id,
            stream: stream.clone(),
            version: placement.version,
            event_type: self.event_type.clone(),
            schema: self.schema,
            at: placement.at,
            actor: append.actor.clone(),
            request_id: append.request_id.clone(),
            data: self.data.clone(),
            sealed: self.sealed.clone(),
            leaf: [0; 32],
        }
    }
}

/// Position, version and time that the commit assigns to an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventPlacement {
    pub(crate) position: Position,
    pub(crate) version: u64,
    pub(crate) at: Timestamp,
}
