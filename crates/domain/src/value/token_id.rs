//! The identity of a machine token.

use std::fmt;

use uuid::Uuid;

use super::hyphenated_uuid::parse_hyphenated;

const STREAM_PREFIX: &str = "token-";

/// The id of a machine token: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(Uuid);

/// The text is not a token id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token id is a hyphenated UUID")]
pub struct TokenIdError;

impl TokenId {
    /// Creates the id from a UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// Parses an id as sent by clients, in either case.
    ///
    /// # Errors
    /// [`TokenIdError`] if it is not a hyphenated UUID.
    pub fn parse(text: &str) -> Result<Self, TokenIdError> {
        parse_hyphenated(text).map(Self).ok_or(TokenIdError)
    }

    /// The name of the token's stream in the event store.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("{STREAM_PREFIX}{self}")
    }

    /// Parses a stream name; `None` unless it is exactly the form of [`stream`](TokenId::stream).
    #[must_use]
    pub fn from_stream(stream: &str) -> Option<Self> {
        let id = Self::parse(stream.strip_prefix(STREAM_PREFIX)?).ok()?;
        (id.stream() == stream).then_some(id)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.hyphenated())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "01930000-0000-7000-8000-00000000002a";

    #[test]
    fn token_id_round_trips_through_text_and_stream() {
        let id = TokenId::parse(UUID).unwrap();
        assert_eq!(id.to_string(), UUID);
        assert_eq!(TokenId::parse(&UUID.to_uppercase()), Ok(id));
        assert_eq!(TokenId::from_stream(&format!("token-{UUID}")), Some(id));
    }

    #[test]
    fn non_canonical_spellings_are_rejected() {
        for text in ["", "42", &UUID.replace('-', ""), &format!(" {UUID}")] {
            assert_eq!(TokenId::parse(text), Err(TokenIdError), "{text}");
        }
        for stream in ["token-", UUID, &format!("user-{UUID}"), &format!("token-{}", UUID.to_uppercase())] {
            assert_eq!(TokenId::from_stream(stream), None, "{stream}");
        }
    }
}
