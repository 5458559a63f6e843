//! The identity of a session.

use std::fmt;

use uuid::Uuid;

use super::hyphenated_uuid::parse_hyphenated;

/// The id of a session: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

/// The text is not a session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is a hyphenated UUID")]
pub struct SessionIdError;

impl SessionId {
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
    /// [`SessionIdError`] if it is not a hyphenated UUID.
    pub fn parse(text: &str) -> Result<Self, SessionIdError> {
        parse_hyphenated(text).map(Self).ok_or(SessionIdError)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.hyphenated())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_id_round_trips_and_other_spellings_are_rejected() {
        let text = "01930000-0000-7000-8000-00000000002a";
        let id = SessionId::parse(text).unwrap();
        assert_eq!((id.to_string().as_str(), SessionId::from_uuid(id.as_uuid())), (text, id));
        assert_eq!(SessionId::parse(&text.to_uppercase()), Ok(id));
        for wrong in ["", "42", &text.replace('-', ""), &format!(" {text}")] {
            assert_eq!(SessionId::parse(wrong), Err(SessionIdError), "{wrong}");
        }
    }
}
