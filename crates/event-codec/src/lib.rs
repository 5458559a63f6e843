//! Converts between stored events ([`store::StoredEvent`]) and domain events, in both directions.
//!
//! `domain` knows the layout of each event and its upcasters, `store` knows envelopes and sealed data;
//! neither knows the other. Commands, queries and projections meet both here. Business rules and I/O do not
//! belong here.

#![warn(missing_docs)]

use domain::{
    Account, ClaimKind, DecodeError, Erasable, EventPayload, LoginEvent, Moment, SYSTEM_STREAM, SystemEvent,
    UserEvent, UserId, WebhookEvent, WebhookSlot,
};
use jiff::Timestamp;
use serde_json::{Map, Value};
use store::{
    Claim, Env, ExpectedVersion, NewEvent, PersonalData, StoreError, StoredEvent, StreamId, StreamWrite,
};

/// Decodes an event of a user's stream.
///
/// # Errors
/// [`DecodeError`] if this release does not know the event type or its schema, or a field is malformed.
pub fn decode_user_event(event: &StoredEvent) -> Result<UserEvent, DecodeError> {
    let envelope = &event.envelope;
    UserEvent::decode(&envelope.event_type, envelope.schema, &envelope.data, personal(event))
}

/// Decodes an event of the stream `system`.
///
/// # Errors
/// [`DecodeError`] if this release does not know the event type or its schema, or a field is malformed.
pub fn decode_system_event(event: &StoredEvent) -> Result<SystemEvent, DecodeError> {
    let envelope = &event.envelope;
    SystemEvent::decode(&envelope.event_type, envelope.schema, &envelope.data, personal(event))
}

/// Decodes an event of a webhook's stream.
///
/// # Errors
/// [`DecodeError`] if this release does not know the event type or its schema, or a field is malformed.
pub fn decode_webhook_event(event: &StoredEvent) -> Result<WebhookEvent, DecodeError> {
    let envelope = &event.envelope;
    WebhookEvent::decode(&envelope.event_type, envelope.schema, &envelope.data, personal(event))
}

/// Decodes an event of the logins of a user.
///
/// # Errors
/// [`DecodeError`] if this release does not know the event type or its schema, or a field is malformed.
pub fn decode_login_event(event: &StoredEvent) -> Result<LoginEvent, DecodeError> {
    let envelope = &event.envelope;
    LoginEvent::decode(&envelope.event_type, envelope.schema, &envelope.data, personal(event))
}

/// A write that appends encoded events to a stream whose current version is `version`.
///
/// # Errors
/// [`StoreError`] if `stream` is not a stream name.
pub fn stream_write(
    env: &Env,
    stream: &str,
    version: u64,
    events: impl IntoIterator<Item = EventPayload>,
) -> Result<StreamWrite, StoreError> {
    let events = events.into_iter().map(|payload| new_event(env, payload)).collect();
    Ok(StreamWrite::new(StreamId::from_trusted(stream)?, ExpectedVersion::version(version), events))
}

/// A write that appends events to the stream `system`, whose current version is `version`.
///
/// # Errors
/// [`StoreError`], as for [`stream_write`].
pub fn system_write(env: &Env, version: u64, events: &[SystemEvent]) -> Result<StreamWrite, StoreError> {
    stream_write(env, SYSTEM_STREAM, version, events.iter().map(SystemEvent::encode))
}

/// A new event with a fresh id.
#[must_use]
pub fn new_event(env: &Env, payload: EventPayload) -> NewEvent {
    let EventPayload { event_type, schema, data, personal } = payload;
    NewEvent { id: env.uuid(), event_type: event_type.to_owned(), schema, data, personal }
}

/// The unique claims that an event takes for its user.
pub fn claims_taken(event: &UserEvent) -> impl Iterator<Item = Claim> + use<> {
    event.claims_taken().into_iter().map(claim)
}

/// The unique claims of its user that an event releases.
pub fn claims_released(event: &UserEvent) -> impl Iterator<Item = Claim> + use<> {
    event.claims_released().into_iter().map(claim)
}

fn claim((kind, value): (ClaimKind, String)) -> Claim {
    Claim { kind: kind.as_str(), value }
}

/// The unique claim that an event takes for its webhook: a slot of the owner.
#[must_use]
pub fn slot_claim_taken(event: &WebhookEvent) -> Option<Claim> {
    event.claim_taken().map(|value| Claim { kind: WebhookSlot::CLAIM_KIND, value })
}

/// The unique claims of all webhook slots of a user, in order.
pub fn slot_claims(owner: UserId) -> impl Iterator<Item = (WebhookSlot, Claim)> {
    WebhookSlot::all()
        .map(move |slot| (slot, Claim { kind: WebhookSlot::CLAIM_KIND, value: slot.claim(owner) }))
}

/// When a user registered: in the system they were imported from, or with the first event of their stream,
/// which was appended at `first_event_at`.
#[must_use]
pub fn registered_at(account: &Account, first_event_at: Timestamp) -> Timestamp {
    account.created_at.map_or(first_event_at, timestamp)
}

/// A moment as a timestamp, which can represent every moment.
#[must_use]
pub fn timestamp(moment: Moment) -> Timestamp {
    Timestamp::from_millisecond(moment.as_millisecond()).unwrap_or_default()
}

fn personal(event: &StoredEvent) -> Erasable<&Map<String, Value>> {
    match &event.personal {
        PersonalData::Known(fields) => Erasable::Known(fields),
        PersonalData::Erased => Erasable::Erased,
    }
}

#[cfg(test)]
mod tests {
    use store::canonical::rfc3339;

    use super::*;

    #[test]
    fn timestamp_represents_every_moment() {
        for text in ["0000-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "9998-12-31T23:59:59.999Z"] {
            assert_eq!(rfc3339(timestamp(Moment::parse(text).unwrap())), text);
        }
        assert!(Moment::parse("9999-01-01T00:00:00.000Z").is_err());
    }
}
