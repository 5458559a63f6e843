//! Events as they are appended, stored and read, with their positions and streams.
//!
//! The store sees a type, a schema number and two JSON objects. The meaning of an event belongs in the
//! `domain` crate.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

/// A position in the log: 1, 2, 3 … without gaps, in commit order. Zero is the position before the first
/// event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// The position with that number.
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

    /// The previous position; at least [`Position::START`].
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// As databases store it. Positions beyond `i64::MAX` are unreachable: a million events per second take
    /// 290,000 years.
    #[must_use]
    pub fn to_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// From a stored number; negative numbers are read as [`Position::START`].
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

/// The kinds of streams without a data key of their own, each with the kind whose key seals them: the data of a
/// stream is sealed under the key of the stream that has the same name but for the kind.
const SEALED_BY: &[(&str, &str)] = &[("logins-", "user-")];

/// The name of a stream: `system`, or a kind and a UUID such as `user-0193…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// The maximum length of a name, in bytes.
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

    /// The stream whose data key seals the personal data of this one, so that both are erased together: itself,
    /// except for `logins-…`, which belongs to `user-…`.
    #[must_use]
    pub fn key_owner(&self) -> Self {
        let owner = |(kind, owner): &(&str, &str)| Some(format!("{owner}{}", self.0.strip_prefix(kind)?));
        SEALED_BY.iter().find_map(owner).map_or_else(|| self.clone(), |owner| Self(owner.into()))
    }

    /// Whether the stream has an entry of its own in the key store as soon as it has personal data or a claim.
    #[must_use]
    pub fn owns_key(&self) -> bool {
        SEALED_BY.iter().all(|(kind, _)| !self.0.starts_with(kind))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A text that is not a stream name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stream name: expected 1 to 128 characters of a-z, 0-9 and -")]
pub struct InvalidStream(String);

/// An event to append, before it has a position in the log.
#[derive(Clone)]
pub struct NewEvent {
    /// The id of the event, a `UUIDv7`.
    pub id: Uuid,
    /// The type, such as `UserRegistered`.
    pub event_type: String,
    /// The version of the schema of the type, from 1.
    pub schema: u32,
    /// Data that is not personal: strings, booleans and integers below 2^53, in objects and arrays.
    pub data: Map<String, Value>,
    /// Personal data: encrypted with the stream's data key before it reaches any disk.
    pub personal: Map<String, Value>,
}

/// Personal data is never logged, so `Debug` shows only the names of its fields.
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

/// An event as stored, with its personal data encrypted.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The position in the log.
    pub position: Position,
    /// The id of the event, a `UUIDv7`.
    pub id: Uuid,
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// The version of the stream with this event, from 1.
    pub version: u64,
    /// The type, such as `UserRegistered`.
    pub event_type: String,
    /// The version of the schema of the type, from 1.
    pub schema: u32,
    /// The time of the commit in milliseconds; never decreases with the position.
    pub at: Timestamp,
    /// The actor: `user-…`, `token-…`, `operator:…` or `system`.
    pub actor: String,
    /// The id of the request that caused it, as in the logs.
    pub request_id: String,
    /// Data that is not personal.
    pub data: Map<String, Value>,
    /// The encrypted personal data; `None` if the event has none.
    pub sealed: Option<Vec<u8>>,
    /// RFC 6962 leaf hash of the canonical event.
    pub leaf: [u8; 32],
}

/// An event as read: its envelope, and its personal data unless it was erased.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// The event as stored.
    pub envelope: Envelope,
    /// Its personal data.
    pub personal: PersonalData,
}

/// The personal data of an event.
#[derive(Clone, PartialEq)]
pub enum PersonalData {
    /// Decrypted; empty if the event never had any.
    Known(Map<String, Value>),
    /// The stream was erased: its data key is destroyed (crypto-shredding).
    Erased,
}

/// Personal data is never logged, so `Debug` shows only whether it is known.
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
    fn logins_are_sealed_under_the_key_of_their_user() {
        let owner = |name: &str| StreamId::new(name).unwrap().key_owner().as_str().to_owned();
        assert_eq!(owner("logins-0193e2b4"), "user-0193e2b4");
        for own in ["user-0193e2b4", "webhook-1", "system", "user-logins-1"] {
            assert_eq!(owner(own), own);
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
