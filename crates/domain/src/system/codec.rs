//! Encodes and decodes system events in the newest layout of each; conversion of older layouts belongs to
//! [`crate::upcast`].

use serde_json::{Map, Value};

use super::SystemEvent;
use crate::fields::Fields;
use crate::payload::{DecodeError, DecodeProblem, EventPayload};
use crate::upcast::UPCASTERS;
use crate::value::{Erasable, Reason, UserId};

impl SystemEvent {
    /// Encodes a new event, whose values are all known.
    #[must_use]
    pub fn encode(&self) -> EventPayload {
        let encoded = UPCASTERS.new_payload(self.event_type());
        match self {
            Self::AdministratorAdded { user } | Self::AdministratorRemoved { user } => {
                encoded.with("user", user.to_string())
            }
            Self::ProjectionEventSkipped { projection, position, reason } => encoded
                .with("projection", projection.as_str())
                .with("position", *position)
                .with_personal("reason", reason.known().map(Reason::as_str)),
            Self::PasswordHashesExported => encoded,
        }
    }

    /// Decodes a stored event. `personal` is [`Erasable::Erased`] once its key is destroyed, and an empty map
    /// for an event without personal data.
    ///
    /// # Errors
    /// [`DecodeError`] if the type or schema is unknown, or a field is missing or malformed. The caller
    /// decides whether an unknown type can be ignored.
    pub fn decode(
        event_type: &str,
        schema: u32,
        data: &Map<String, Value>,
        personal: Erasable<&Map<String, Value>>,
    ) -> Result<Self, DecodeError> {
        let stored = Fields { event_type, schema, data, personal };
        UPCASTERS.read(Self::TYPES, stored, |fields| Self::read(&fields))
    }

    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        match fields.event_type {
            Self::ADMINISTRATOR_ADDED => {
                Ok(Self::AdministratorAdded { user: fields.parsed("user", UserId::parse)? })
            }
            Self::ADMINISTRATOR_REMOVED => {
                Ok(Self::AdministratorRemoved { user: fields.parsed("user", UserId::parse)? })
            }
            Self::PROJECTION_EVENT_SKIPPED => Ok(Self::ProjectionEventSkipped {
                projection: fields.text("projection")?,
                position: fields.integer("position")?,
                reason: fields.personal("reason", Reason::from_stored)?,
            }),
            Self::PASSWORD_HASHES_EXPORTED => Ok(Self::PasswordHashesExported),
            _ => Err(fields.error(DecodeProblem::UnknownType)),
        }
    }
}
