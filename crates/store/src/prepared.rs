//! Appends made ready: what waits in the queue and is then judged.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::append::ExpectedVersion;
use crate::event::{Envelope, Position, StreamId};
use crate::idempotency::IdempotencyKey;
use crate::key_store::ClaimHash;

/// An append made ready for the queue: bodies sealed, claims hashed.
#[derive(Clone, Debug)]
pub struct PreparedAppend {
    pub(crate) actor: String,
    pub(crate) request_id: String,
    pub(crate) writes: Vec<PreparedWrite>,
    pub(crate) idempotency: Option<IdempotencyKey>,
    /// Its size in bytes, near enough to bound a batch.
    pub(crate) bytes: usize,
}

impl PreparedAppend {
    /// The number of its events.
    pub(crate) fn events(&self) -> usize {
        self.writes.iter().map(|write| write.events.len()).sum()
    }
}

/// A stream write made ready for the queue.
#[derive(Clone, Debug)]
pub(crate) struct PreparedWrite {
    pub(crate) stream: StreamId,
    pub(crate) expected: ExpectedVersion,
    pub(crate) events: Vec<PreparedEvent>,
    pub(crate) take: Vec<(&'static str, ClaimHash)>,
    pub(crate) release: Vec<ClaimHash>,
    pub(crate) key: KeyUse,
    pub(crate) erase: bool,
}

/// Which key a write's bodies were sealed under.
#[derive(Clone, Debug)]
pub(crate) enum KeyUse {
    /// Nothing is sealed and no claim is taken: the stream needs no key for it.
    None,
    /// The stream's key, which must still be there.
    Existing,
    /// A new key, wrapped, since the stream had none.
    New(Vec<u8>),
}

/// An event made ready for the queue.
#[derive(Clone, Debug)]
pub(crate) struct PreparedEvent {
    pub(crate) id: Uuid,
    pub(crate) event_type: String,
    pub(crate) schema: u32,
    pub(crate) data: Map<String, Value>,
    pub(crate) sealed: Option<Vec<u8>>,
}

impl PreparedEvent {
    /// The event at a place in the log, its leaf not yet made.
    pub(crate) fn to_envelope(
        &self,
        append: &PreparedAppend,
        stream: &StreamId,
        place: EventPlacement,
    ) -> Envelope {
        Envelope {
            position: place.position,
            id: self.id,
            stream: stream.clone(),
            version: place.version,
            event_type: self.event_type.clone(),
            schema: self.schema,
            at: place.at,
            actor: append.actor.clone(),
            request_id: append.request_id.clone(),
            data: self.data.clone(),
            sealed: self.sealed.clone(),
            leaf: [0; 32],
        }
    }
}

/// Where and when an event is put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventPlacement {
    pub(crate) position: Position,
    pub(crate) version: u64,
    pub(crate) at: Timestamp,
}
