//! From what the log gives back to what the domain knows, and back to what rows and answers hold.

use domain::{Account, DecodeError, Erasable, Moment, SystemEvent, UserEvent, WebhookEvent};
use jiff::Timestamp;
use serde_json::{Map, Value};
use store::{PersonalData, StoredEvent};

/// An event of a user.
///
/// # Errors
/// [`DecodeError`] if this version does not know the type or the schema.
pub fn user_event(event: &StoredEvent) -> Result<UserEvent, DecodeError> {
    let envelope = &event.envelope;
    UserEvent::decode(&envelope.event_type, envelope.schema, &envelope.data, personal(event))
}

/// An event of the stream `system`.
///
/// # Errors
/// [`DecodeError`] if this version does not know the type or the schema.
pub fn system_event(event: &StoredEvent) -> Result<SystemEvent, DecodeError> {
    let envelope = &event.envelope;
    SystemEvent::decode(&envelope.event_type, envelope.schema, &envelope.data, personal(event))
}

/// An event of a webhook.
///
/// # Errors
/// [`DecodeError`] if this version does not know the type or the schema.
pub fn webhook_event(event: &StoredEvent) -> Result<WebhookEvent, DecodeError> {
    let envelope = &event.envelope;
    WebhookEvent::decode(&envelope.event_type, envelope.schema, &envelope.data, personal(event))
}

/// When a user registered: where they come from, or here, with their first event, appended at `first`.
#[must_use]
pub fn created_at(account: &Account, first: Timestamp) -> Timestamp {
    account.created_at.map_or(first, timestamp)
}

/// A moment that an event tells of. A timestamp can hold every one of them, as the test below says.
pub(crate) fn timestamp(moment: Moment) -> Timestamp {
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
    fn timestamp_holds_every_moment() {
        for text in ["0000-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "9998-12-31T23:59:59.999Z"] {
            assert_eq!(rfc3339(timestamp(Moment::parse(text).unwrap())), text);
        }
        assert!(Moment::parse("9999-01-01T00:00:00.000Z").is_err());
    }
}
