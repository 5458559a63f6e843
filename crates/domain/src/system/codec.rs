//! The events of the installation as they are stored.

use serde_json::{Map, Value};

use super::SystemEvent;
use crate::encoded::{DecodeError, Encoded};
use crate::fields::Fields;
use crate::value::{Personal, UserId};

const SCHEMA: u32 = 1;

impl SystemEvent {
    /// The event as it is stored.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        match self {
            Self::AdministratorAdded { user } | Self::AdministratorRemoved { user } => {
                Encoded::new(self.event_type(), SCHEMA).with("user", user.to_string())
            }
        }
    }

    /// Reads a stored event. Nothing of it is ever personal, so `personal` makes no difference.
    ///
    /// # Errors
    /// [`DecodeError`] if the type or its schema is not known here, or a field is missing or makes no sense.
    /// Whether an unknown type can be passed over is for the caller to say.
    pub fn decode(
        event_type: &str,
        schema: u32,
        data: &Map<String, Value>,
        personal: Personal<&Map<String, Value>>,
    ) -> Result<Self, DecodeError> {
        let fields = Fields { event_type, schema, data, personal };
        match (event_type, schema) {
            (Self::ADMINISTRATOR_ADDED, SCHEMA) => {
                Ok(Self::AdministratorAdded { user: fields.parsed("user", UserId::parse)? })
            }
            (Self::ADMINISTRATOR_REMOVED, SCHEMA) => {
                Ok(Self::AdministratorRemoved { user: fields.parsed("user", UserId::parse)? })
            }
            _ => Err(fields.unreadable(Self::TYPES)),
        }
    }
}
