//! The public form of an event: a `CloudEvent` 1.0 in JSON (<https://cloudevents.io>, JSON event format
//! 1.0.2). The event feed, the command line and webhooks show nothing else.

use domain::UserId;
use serde::Serialize;
use serde_json::{Map, Value};
use store::canonical::rfc3339;
use store::{LogIdentity, PersonalData, StoredEvent};

/// The personal fields that may leave the service. An allow-list, so that a password hash, or the secret of a
/// future event type, is never disclosed by mistake.
const DISCLOSED_PERSONAL_FIELDS: [&str; 7] =
    ["email", "previous_email", "username", "previous_username", "reason", "address", "user_agent"];

/// What the actors of the command line begin with; the login name follows.
pub(crate) const OPERATOR: &str = "operator:";

/// Whether personal values are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// Included, except secrets.
    Personal,
    /// Left out.
    Redacted,
}

/// A `CloudEvent`, its fields in reading order.
#[derive(Clone, Debug, Serialize)]
pub struct CloudEvent {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub subject: String,
    pub time: String,
    datacontenttype: &'static str,
    pub position: u64,
    /// The epoch of the log, raised when it was restored from a backup.
    epoch: u64,
    streamversion: u64,
    schemaversion: u32,
    pub actor: String,
    pub data: Map<String, Value>,
}

impl CloudEvent {
    #[must_use]
    pub fn new(event: &StoredEvent, log: LogIdentity, disclosure: Disclosure) -> Self {
        let envelope = &event.envelope;
        let stream = envelope.stream.as_str();
        Self {
            specversion: "1.0",
            id: envelope.id.hyphenated().to_string(),
            source: source(log),
            event_type: envelope.event_type.clone(),
            subject: subject(stream),
            time: rfc3339(envelope.at),
            datacontenttype: "application/json",
            position: envelope.position.get(),
            epoch: log.epoch,
            streamversion: envelope.version,
            schemaversion: envelope.schema,
            actor: actor(&envelope.actor, disclosure).to_owned(),
            data: data(event, disclosure),
        }
    }
}

/// The id of the user whose account or logins it concerns, or else the stream.
fn subject(stream: &str) -> String {
    let user = UserId::from_stream(stream).or_else(|| UserId::from_logins_stream(stream));
    user.map_or_else(|| stream.to_owned(), |id| id.to_string())
}

/// The actor. The login name of an operator is personal.
fn actor(actor: &str, disclosure: Disclosure) -> &str {
    match actor.strip_prefix(OPERATOR) {
        Some(_) if disclosure == Disclosure::Redacted => OPERATOR.trim_end_matches(':'),
        _ => actor,
    }
}

/// The `source` of events: the log.
pub(crate) fn source(log: LogIdentity) -> String {
    format!("/aegis/{}", log.id.hyphenated())
}

fn data(event: &StoredEvent, disclosure: Disclosure) -> Map<String, Value> {
    let mut data = event.envelope.data.clone();
    match &event.personal {
        PersonalData::Erased => {
            data.insert("erased".to_owned(), true.into());
        }
        PersonalData::Known(_) if disclosure == Disclosure::Personal => {
            data.extend(disclosed_personal(event));
        }
        PersonalData::Known(_) => {}
    }
    data
}

/// The personal values that may leave the service; empty after an erasure.
pub(crate) fn disclosed_personal(event: &StoredEvent) -> Map<String, Value> {
    let PersonalData::Known(personal) = &event.personal else { return Map::new() };
    let shown = personal.iter().filter(|(name, _)| DISCLOSED_PERSONAL_FIELDS.contains(&name.as_str()));
    shown.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use store::{Envelope, FIRST_EPOCH, Position, StreamId};
    use uuid::Uuid;

    use super::*;

    const LOG: LogIdentity = LogIdentity { id: Uuid::nil(), epoch: FIRST_EPOCH };

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
        serde_json::to_value(CloudEvent::new(&registered(personal), LOG, disclosure)).unwrap()
    }

    #[test]
    fn event_matches_the_cloudevents_contract() {
        assert_eq!(
            shown(known(), Disclosure::Personal),
            json!({
                "specversion": "1.0", "id": "0193e2b4-0000-7000-8000-000000000002",
                "source": "/aegis/00000000-0000-0000-0000-000000000000", "type": "UserRegistered",
                "subject": "0193e2b4-0000-7000-8000-000000000001", "time": "2026-11-22T08:03:14.680Z",
                "datacontenttype": "application/json", "position": 42, "epoch": 1, "streamversion": 1,
                "schemaversion": 1,
                "actor": "user-0193e2b4-0000-7000-8000-000000000001",
                "data": {"email": "ada@example.com", "username": "ada"}
            })
        );
    }

    #[test]
    fn login_name_of_an_operator_is_personal() {
        let mut event = registered(known());
        event.envelope.actor = "operator:ada".to_owned();
        let actor = |disclosure| CloudEvent::new(&event, LOG, disclosure).actor;
        assert_eq!(
            (actor(Disclosure::Personal).as_str(), actor(Disclosure::Redacted).as_str()),
            ("operator:ada", "operator")
        );
    }

    #[test]
    fn password_hash_of_an_import_is_never_disclosed() {
        let mut event = registered(known());
        event.envelope.event_type = "UserImported".to_owned();
        let open = json!({"is_active": true, "created_at": "2019-05-04T03:02:01.007Z"});
        event.envelope.data = open.as_object().unwrap().clone();
        let shown = |disclosure| CloudEvent::new(&event, LOG, disclosure).data;
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
