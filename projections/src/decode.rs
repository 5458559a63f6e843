//! From what the log gives back to what the domain knows.

use domain::{DecodeError, Personal, SystemEvent, UserEvent};
use serde_json::{Map, Value};
use store::{PersonalData, Recorded};

/// An event of a user.
///
/// # Errors
/// [`DecodeError`] if this version does not know the type or the schema.
pub fn user_event(event: &Recorded) -> Result<UserEvent, DecodeError> {
    let envelope = &event.envelope;
    UserEvent::decode(&envelope.event_type, envelope.schema, &envelope.data, personal(event))
}

/// An event of the stream `system`.
///
/// # Errors
/// [`DecodeError`] if this version does not know the type or the schema.
pub fn system_event(event: &Recorded) -> Result<SystemEvent, DecodeError> {
    let envelope = &event.envelope;
    SystemEvent::decode(&envelope.event_type, envelope.schema, &envelope.data, personal(event))
}

fn personal(event: &Recorded) -> Personal<&Map<String, Value>> {
    match &event.personal {
        PersonalData::Known(fields) => Personal::Known(fields),
        PersonalData::Erased => Personal::Erased,
    }
}
