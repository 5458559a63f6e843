//! Encodes and decodes webhook events in the newest layout of each; conversion of older layouts belongs to
//! [`crate::upcast`].

use serde_json::{Map, Value};

use super::{BatchSize, SuspensionReason, WebhookEvent, WebhookSlot};
use crate::fields::Fields;
use crate::payload::{DecodeError, DecodeProblem, EventPayload};
use crate::upcast::UPCASTERS;
use crate::value::{Erasable, Moment, Reason, UserId, WebhookSecret, WebhookUrl};

/// Separator of event types in the field `types`, which is one text.
const SEPARATOR: char = ',';

impl WebhookEvent {
    /// Encodes a new event, whose values are all known.
    #[must_use]
    pub fn encode(&self) -> EventPayload {
        let encoded = UPCASTERS.new_payload(self.event_type());
        match self {
            Self::WebhookRegistered { owner, url, secret, types, description, after, batch, slot } => {
                with_secret(
                    with_batch(with_slot(encoded, *slot), *batch)
                        .with("owner", owner.to_string())
                        .with("types", types.join(&SEPARATOR.to_string()))
                        .with("after", *after)
                        .with_personal("url", url.known().map(WebhookUrl::as_str))
                        .with_optional_personal("description", description.as_ref(), Reason::as_str),
                    secret,
                )
            }
            Self::WebhookSecretRotated { secret, previous_until } => {
                with_secret(encoded.with("previous_until", previous_until.to_string()), secret)
            }
            Self::WebhookSuspended { reason, position } => {
                encoded.with("reason", reason.as_str()).with("position", *position)
            }
            Self::WebhookReplayRequested { from, to } => encoded.with("from", *from).with("to", *to),
            Self::WebhookResumed | Self::WebhookReplaysCancelled | Self::WebhookDeleted => encoded,
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
            Self::REGISTERED => Ok(Self::WebhookRegistered {
                owner: fields.parsed("owner", UserId::parse)?,
                url: fields.parsed_personal("url", WebhookUrl::from_stored)?,
                secret: fields.parsed_personal("secret", WebhookSecret::from_stored)?,
                types: types(&fields.text("types")?),
                description: fields.optional_personal(
                    "has_description",
                    "description",
                    Reason::from_stored,
                )?,
                after: fields.integer("after")?,
                batch: fields.optional_parsed("batch", BatchSize::new)?,
                slot: fields.optional_parsed("slot", WebhookSlot::new)?,
            }),
            Self::SECRET_ROTATED => Ok(Self::WebhookSecretRotated {
                secret: fields.parsed_personal("secret", WebhookSecret::from_stored)?,
                previous_until: fields.parsed("previous_until", Moment::parse)?,
            }),
            Self::SUSPENDED => Ok(Self::WebhookSuspended {
                reason: fields.parsed("reason", |name| SuspensionReason::named(name).ok_or(()))?,
                position: fields.integer("position")?,
            }),
            Self::RESUMED => Ok(Self::WebhookResumed),
            Self::REPLAY_REQUESTED => {
                Ok(Self::WebhookReplayRequested { from: fields.integer("from")?, to: fields.integer("to")? })
            }
            Self::REPLAYS_CANCELLED => Ok(Self::WebhookReplaysCancelled),
            Self::DELETED => Ok(Self::WebhookDeleted),
            _ => Err(fields.error(DecodeProblem::UnknownType)),
        }
    }
}

fn with_slot(encoded: EventPayload, slot: Option<WebhookSlot>) -> EventPayload {
    match slot {
        Some(slot) => encoded.with("slot", slot.number()),
        None => encoded,
    }
}

fn with_batch(encoded: EventPayload, batch: Option<BatchSize>) -> EventPayload {
    match batch {
        Some(batch) => encoded.with("batch", batch.events()),
        None => encoded,
    }
}

fn with_secret(encoded: EventPayload, secret: &Erasable<WebhookSecret>) -> EventPayload {
    encoded.with_personal("secret", secret.known().map(WebhookSecret::to_stored).as_deref())
}

fn types(joined: &str) -> Vec<String> {
    joined.split(SEPARATOR).filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}
