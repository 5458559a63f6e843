//! A user's events as they are stored.
//!
//! Every event has schema 1 so far. The first one to change gets a reader per schema here; its old form stays
//! readable for ever.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::UserEvent;
use crate::encoded::{DecodeError, Encoded};
use crate::fields::Fields;
use crate::value::{EmailAddress, PasswordHash, Personal, Reason, Role, Username};

const SCHEMA: u32 = 1;

impl UserEvent {
    /// The event as it is stored. Meant for new events, in which nothing is erased yet.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let encoded = Encoded::new(self.event_type(), SCHEMA);
        match self {
            Self::UserRegistered { email, username, password_hash } => encoded
                .with_personal("email", email.known().map(EmailAddress::as_str))
                .with_personal("username", username.known().map(Username::as_str))
                .with_personal("password_hash", password_hash.known().map(PasswordHash::expose)),
            Self::UserDeactivated { reason } | Self::UserReactivated { reason } => {
                encoded.with_optional_personal("reason", reason.as_ref(), Reason::as_str)
            }
            Self::RoleGranted { role } | Self::RoleRevoked { role } => encoded.with("role", role.as_str()),
        }
    }

    /// Reads a stored event. `personal` is [`Personal::Erased`] once its key is gone, and an empty map for an
    /// event that never had a personal part.
    ///
    /// # Errors
    /// [`DecodeError`] if the type or its schema is not known here, or a field is missing or makes no sense.
    /// It shows no values.
    pub fn decode(
        event_type: &str,
        schema: u32,
        data: &Map<String, Value>,
        personal: Personal<&Map<String, Value>>,
    ) -> Result<Self, DecodeError> {
        let fields = Fields { event_type, schema, data, personal };
        match (event_type, schema) {
            (Self::REGISTERED, SCHEMA) => Ok(Self::UserRegistered {
                email: fields.personal("email", EmailAddress::recorded)?,
                username: fields.personal("username", Username::recorded)?,
                password_hash: fields.personal("password_hash", PasswordHash::recorded)?,
            }),
            (Self::DEACTIVATED, SCHEMA) => Ok(Self::UserDeactivated { reason: reason(&fields)? }),
            (Self::REACTIVATED, SCHEMA) => Ok(Self::UserReactivated { reason: reason(&fields)? }),
            (Self::ROLE_GRANTED, SCHEMA) => {
                Ok(Self::RoleGranted { role: fields.parsed("role", Role::from_str)? })
            }
            (Self::ROLE_REVOKED, SCHEMA) => {
                Ok(Self::RoleRevoked { role: fields.parsed("role", Role::from_str)? })
            }
            _ => Err(fields.unreadable(Self::TYPES)),
        }
    }
}

fn reason(fields: &Fields<'_>) -> Result<Option<Personal<Reason>>, DecodeError> {
    fields.optional_personal("has_reason", "reason", Reason::recorded)
}
