//! An event as the world outside sees it: a `CloudEvent` 1.0 in JSON (<https://cloudevents.io>, JSON event format 1.0.2).
//! The feed, the command line and webhooks all show this and nothing else.

use domain::UserId;
use serde::Serialize;
use serde_json::{Map, Value};
use store::canonical::rfc3339;
use store::{PersonalData, StoredEvent};
use uuid::Uuid;

/// The personal fields that may leave the service. A field is added here by hand or stays inside: a password hash,
/// or a secret of an event yet to be invented, is never shown by mistake.
const DISCLOSED_PERSONAL_FIELDS: [&str; 3] = ["email", "username", "reason"];

/// Whether personal values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// They are, but for secrets.
    Personal,
    /// They are left out.
    Redacted,
}

/// A `CloudEvent`, its fields in the order in which people read them.
#[derive(Clone, Debug, Serialize)]
pub struct CloudEvent {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    position: u64,
    streamversion: u64,
    schemaversion: u32,
    actor: String,
    data: Map<String, Value>,
}

impl CloudEvent {
    /// What may be shown of an event of the log of that id.
    #[must_use]
    pub fn new(event: &StoredEvent, log_id: Uuid, disclosure: Disclosure) -> Self {
        let envelope = &event.envelope;
        let stream = envelope.stream.as_str();
        Self {
            specversion: "1.0",
            id: envelope.id.hyphenated().to_string(),
            source: format!("/aegis/{}", log_id.hyphenated()),
            event_type: envelope.event_type.clone(),
            subject: UserId::from_stream(stream).map_or_else(|| stream.to_owned(), |id| id.to_string()),
            time: rfc3339(envelope.at),
            datacontenttype: "application/json",
            position: envelope.position.get(),
            streamversion: envelope.version,
            schemaversion: envelope.schema,
            actor: envelope.actor.clone(),
            data: data(event, disclosure),
        }
    }

    /// Its place in the log.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// When it was committed, in RFC 3339.
    #[must_use]
    pub fn time(&self) -> &str {
        &self.time
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The user's id, or the stream.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Who caused it.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// What it says.
    #[must_use]
    pub fn data(&self) -> &Map<String, Value> {
        &self.data
    }
}

fn data(event: &StoredEvent, disclosure: Disclosure) -> Map<String, Value> {
    let mut data = event.envelope.data.clone();
    match &event.personal {
        PersonalData::Erased => {
            data.insert("erased".to_owned(), true.into());
        }
        PersonalData::Known(_) if disclosure == Disclosure::Personal => {
            data.extend(disclosed_personal(event))
        }
        PersonalData::Known(_) => {}
    }
    data
}

/// The personal values that may leave the service, if they are still there.
pub(crate) fn disclosed_personal(event: &StoredEvent) -> Map<String, Value> {
    let PersonalData::Known(personal) = &event.personal else { return Map::new() };
    let shown = personal.iter().filter(|(name, _)| DISCLOSED_PERSONAL_FIELDS.contains(&name.as_str()));
    shown.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use store::{Envelope, Position, StreamId};

    use super::*;

    fn registered(personal: PersonalData) -> StoredEvent {
        let envelope = Envelope {
            position: Position::new(42),
            id: "0193e2b4-0000-7000-8000-000000000002".parse().unwrap(),
            stream: StreamId::new("user-0193e2b4-0000-7000-8000-000000000001").unwrap(),
            version: 1,
            event_type: "UserRegistered".to_owned(),
            schema: 1,
            at: "2026-11-22T08:03:14.68Z".parse::<Timestamp>().unwrap(),
            actor: "user-0193e2b4-0000-7000-8000-000000000001".to_owned(),
            request_id: "r".to_owned(),
            data: Map::new(),
            sealed: None,
            leaf: [0; 32],
        };
        StoredEvent { envelope, personal }
    }

    fn known() -> PersonalData {
        let fields =
            json!({"email": "ada@example.com", "username": "ada", "password_hash": "$argon2id$secret"});
        PersonalData::Known(fields.as_object().unwrap().clone())
    }

    fn shown(personal: PersonalData, disclosure: Disclosure) -> Value {
        serde_json::to_value(CloudEvent::new(&registered(personal), Uuid::nil(), disclosure)).unwrap()
    }

    #[test]
    fn event_matches_the_cloudevents_contract() {
        assert_eq!(
            shown(known(), Disclosure::Personal),
            json!({
                "specversion": "1.0", "id": "0193e2b4-0000-7000-8000-000000000002",
                "source": "/aegis/00000000-0000-0000-0000-000000000000", "type": "UserRegistered",
                "subject": "0193e2b4-0000-7000-8000-000000000001", "time": "2026-11-22T08:03:14.680Z",
                "datacontenttype": "application/json", "position": 42, "streamversion": 1, "schemaversion": 1,
                "actor": "user-0193e2b4-0000-7000-8000-000000000001",
                "data": {"email": "ada@example.com", "username": "ada"}
            })
        );
    }

    #[test]
    fn password_hash_of_an_import_is_never_disclosed() {
        let mut event = registered(known());
        event.envelope.event_type = "UserImported".to_owned();
        let open = json!({"is_active": true, "created_at": "2019-05-04T03:02:01.007Z"});
        event.envelope.data = open.as_object().unwrap().clone();
        let shown = |disclosure| CloudEvent::new(&event, Uuid::nil(), disclosure).data().clone();
        assert_eq!(Value::from(shown(Disclosure::Redacted)), open);
        assert_eq!(
            Value::from(shown(Disclosure::Personal)),
            json!({
                "is_active": true, "created_at": "2019-05-04T03:02:01.007Z",
                "email": "ada@example.com", "username": "ada"
            })
        );
    }

    #[test]
    fn personal_values_can_be_redacted_and_erasure_is_marked() {
        assert_eq!(shown(known(), Disclosure::Redacted)["data"], json!({}));
        for disclosure in [Disclosure::Personal, Disclosure::Redacted] {
            assert_eq!(shown(PersonalData::Erased, disclosure)["data"], json!({"erased": true}));
        }
    }
}
