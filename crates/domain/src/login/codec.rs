//! Encodes and decodes login events in the newest layout of each; conversion of older layouts belongs to
//! [`crate::upcast`].

use std::str::FromStr;

use serde_json::{Map, Value};

use super::{LoginClient, LoginEvent, LoginFailure};
use crate::fields::Fields;
use crate::payload::{DecodeError, DecodeProblem, EventPayload};
use crate::upcast::UPCASTERS;
use crate::value::{Erasable, UserAgent};

impl LoginEvent {
    /// Encodes a new event, whose values are all known.
    #[must_use]
    pub fn encode(&self) -> EventPayload {
        let encoded = UPCASTERS.new_payload(self.event_type());
        match self {
            Self::LoginSucceeded { failures, client } => {
                with_client(encoded.with("failures", *failures), client)
            }
            Self::LoginFailed { reason, count, client } => {
                let encoded = with_client(encoded.with("reason", reason.as_str()), client);
                match count {
                    Some(count) => encoded.with("count", *count),
                    None => encoded,
                }
            }
        }
    }

    /// Decodes a stored event. `personal` is [`Erasable::Erased`] once its key is destroyed, and an empty map
    /// for an event without personal data.
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
            Self::SUCCEEDED => {
                Ok(Self::LoginSucceeded { failures: fields.integer("failures")?, client: client(fields)? })
            }
            Self::FAILED => Ok(Self::LoginFailed {
                reason: fields.parsed("reason", LoginFailure::from_str)?,
                count: fields.optional_parsed("count", Some)?,
                client: client(fields)?,
            }),
            _ => Err(fields.error(DecodeProblem::UnknownType)),
        }
    }
}

fn with_client(encoded: EventPayload, client: &LoginClient) -> EventPayload {
    let address = client.address.map(|address| address.map(|address| address.to_string()));
    encoded.with_optional_personal("address", address.as_ref(), String::as_str).with_optional_personal(
        "user_agent",
        client.user_agent.as_ref(),
        UserAgent::as_str,
    )
}

fn client(fields: &Fields<'_>) -> Result<LoginClient, DecodeError> {
    Ok(LoginClient {
        address: fields.optional_parsed_personal("has_address", "address", str::parse)?,
        user_agent: fields.optional_personal("has_user_agent", "user_agent", UserAgent::from_stored)?,
    })
}
