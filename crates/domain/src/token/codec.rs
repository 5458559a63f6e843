//! Encodes and decodes events of machine tokens in the newest layout of each; conversion of older layouts belongs
//! to [`crate::upcast`].

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::TokenEvent;
use crate::fields::Fields;
use crate::payload::{DecodeError, DecodeProblem, EventPayload};
use crate::upcast::UPCASTERS;
use crate::value::{Erasable, Moment, Role, TokenName, TokenSecretHash, UnknownRole};

/// Separator of roles in the field `roles`, which is one text.
const SEPARATOR: char = ',';

impl TokenEvent {
    /// Encodes a new event, whose values are all known.
    #[must_use]
    pub fn encode(&self) -> EventPayload {
        let encoded = UPCASTERS.new_payload(self.event_type());
        match self {
            Self::TokenIssued { name, roles, expires_at, secret_hash } => {
                let roles: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
                let hash = secret_hash.as_ref().known().map(|hash| hash.to_stored());
                let encoded = encoded
                    .with("name", name.as_str())
                    .with("roles", roles.join(&SEPARATOR.to_string()))
                    .with_personal("secret_hash", hash.as_deref());
                match expires_at {
                    Some(at) => encoded.with("expires_at", at.to_string()),
                    None => encoded,
                }
            }
            Self::TokenUsed | Self::TokenRevoked => encoded,
        }
    }

    /// Decodes a stored event. `personal` is [`Erasable::Erased`] if it was not decrypted, and an empty map for an
    /// event without personal data.
    ///
    /// # Errors
    /// [`DecodeError`] if the type or schema is unknown, or a field is missing or malformed. The message
    /// contains no values.
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
            Self::ISSUED => Ok(Self::TokenIssued {
                name: TokenName::from_stored(&fields.text("name")?),
                roles: fields.parsed("roles", roles)?,
                expires_at: if fields.data.contains_key("expires_at") {
                    Some(fields.parsed("expires_at", Moment::parse)?)
                } else {
                    None
                },
                secret_hash: fields.parsed_personal("secret_hash", TokenSecretHash::from_stored)?,
            }),
            Self::USED => Ok(Self::TokenUsed),
            Self::REVOKED => Ok(Self::TokenRevoked),
            _ => Err(fields.error(DecodeProblem::UnknownType)),
        }
    }
}

fn roles(joined: &str) -> Result<BTreeSet<Role>, UnknownRole> {
    joined.split(SEPARATOR).filter(|name| !name.is_empty()).map(str::parse).collect()
}
