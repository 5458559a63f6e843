//! What an event is: the envelope as stored, and the names of the places it stands in. What an event *means* is the
//! domain's business; the store sees a type, a schema number and two JSON objects.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

/// A place in the whole log: 1, 2, 3 … without a gap, in commit order. Zero is "before the first event".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// The position of that number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next position.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before; of the first, [`Position::START`].
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// As databases hold it. Positions beyond `i64::MAX` cannot be reached: at a million events a second that
    /// takes 290,000 years.
    #[must_use]
    pub fn to_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// From what a database holds; a negative number is no position and reads as [`Position::START`].
    #[must_use]
    pub fn from_i64(number: i64) -> Self {
        Self(u64::try_from(number).unwrap_or(0))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The name of a stream: `system`, or a kind and a UUID such as `user-0193…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// The longest name, in bytes.
    pub const MAX_LENGTH: usize = 128;

    /// A stream name: 1 to 128 of `a-z`, `0-9` and `-`.
    ///
    /// # Errors
    /// [`InvalidStream`] for any other text.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidStream> {
        let name = name.into();
        let fits = (1..=Self::MAX_LENGTH).contains(&name.len());
        if fits && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            Ok(Self(name.into()))
        } else {
            Err(InvalidStream(name))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A text that cannot name a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no stream name: 1 to 128 of a-z, 0-9 and - are")]
pub struct InvalidStream(String);

/// An event as its stream's owner states it, before it has a place in the log.
#[derive(Clone)]
pub struct NewEvent {
    /// The event's identity, a `UUIDv7`.
    pub id: Uuid,
    /// Its type, such as `UserRegistered`.
    pub event_type: String,
    /// The version of its type's schema, from 1.
    pub schema: u32,
    /// What is not personal: strings, booleans and integers below 2^53, in objects and arrays.
    pub data: Map<String, Value>,
    /// What is personal: sealed under the stream's own key before it reaches any disk.
    pub personal: Map<String, Value>,
}

/// Personal values stay out of logs, so `Debug` tells only which there are.
impl fmt::Debug for NewEvent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, event_type, schema, data, personal } = self;
        let names: Vec<_> = personal.keys().collect();
        out.debug_struct("NewEvent")
            .field("id", id)
            .field("event_type", event_type)
            .field("schema", schema)
            .field("data", data)
            .field("personal", &names)
            .finish()
    }
}

/// An event as stored, personal values still sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Place in the whole log.
    pub position: Position,
    /// The event's identity, a `UUIDv7`.
    pub id: Uuid,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Place in the stream, from 1.
    pub version: u64,
    /// Its type, such as `UserRegistered`.
    pub event_type: String,
    /// The version of its type's schema, from 1.
    pub schema: u32,
    /// When it was committed, to the millisecond; never falls as positions rise.
    pub at: Timestamp,
    /// Who caused it: `user-…`, `token-…`, `operator:…` or `system`.
    pub actor: String,
    /// The request that caused it, as in the logs.
    pub request_id: String,
    /// What is not personal.
    pub data: Map<String, Value>,
    /// What is personal, sealed; absent when there is nothing.
    pub sealed: Option<Vec<u8>>,
    /// RFC 6962 leaf hash of the canonical event.
    pub leaf: [u8; 32],
}

/// An event as read: its envelope, and its personal values if they can still be known.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// The event as stored.
    pub envelope: Envelope,
    /// Its personal values.
    pub personal: PersonalData,
}

/// The personal part of an event.
#[derive(Clone, PartialEq)]
pub enum PersonalData {
    /// Unsealed; empty when the event never had any.
    Known(Map<String, Value>),
    /// The stream was erased: the key is gone, and with it the values.
    Erased,
}

/// Personal values stay out of logs, so `Debug` tells only whether they are known.
impl fmt::Debug for PersonalData {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Known(_) => "Known(…)",
            Self::Erased => "Erased",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_are_lower_case_words_and_uuids() {
        assert!(StreamId::new("system").is_ok());
        assert!(StreamId::new("user-0193e2b4-0000-7000-8000-000000000000").is_ok());
        for bad in ["", "User-1", "user 1", "user|1", "ünser", &"a".repeat(129)] {
            assert!(StreamId::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn debug_output_never_shows_personal_values() {
        let personal = Map::from_iter([("email".to_owned(), Value::from("ada@example.com"))]);
        let event = NewEvent {
            id: Uuid::nil(),
            event_type: "UserRegistered".to_owned(),
            schema: 1,
            data: Map::new(),
            personal: personal.clone(),
        };
        let shown = format!("{event:?}");
        assert!(shown.contains("UserRegistered") && shown.contains("email"), "{shown}");
        assert!(!shown.contains("ada"), "{shown}");
        assert!(!format!("{:?}", PersonalData::Known(personal)).contains("ada"));
    }
}
