//! What is sent: a `CloudEvent` in structured mode (HTTP protocol binding 1.0.2, §3.2), signed. Personal values are always
//! left out: what has left the house cannot be erased.

use domain::{ActiveWebhook, Moment};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::json;
use store::StoredEvent;
use store::canonical::rfc3339;
use uuid::Uuid;

use super::signature::sign;
use crate::cloud_event::{CloudEvent, Disclosure};

const CLOUD_EVENTS_JSON: HeaderValue =
    HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIME: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The type of the event that `test` sends. It is in no log.
const TEST_EVENT_TYPE: &str = "WebhookTest";

/// A body and its name.
#[derive(Clone)]
pub(super) struct Message {
    /// The same for every attempt to deliver the same event, so that a receiver can tell.
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

#[derive(Serialize)]
struct DeliveryBody {
    #[serde(flatten)]
    event: CloudEvent,
    /// The position of the event that was delivered before this one, or, of the first, the one after which was begun:
    /// whoever is not there has missed something.
    previous: u64,
    /// Whether it was asked for once more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replay: bool,
}

impl Message {
    /// Of an event of the log.
    pub(super) fn for_event(
        event: &StoredEvent,
        log_id: Uuid,
        previous: u64,
        replay: bool,
    ) -> serde_json::Result<Self> {
        let id = event.envelope.id.hyphenated().to_string();
        let event = CloudEvent::new(event, log_id, Disclosure::Redacted);
        Ok(Self { id, body: serde_json::to_vec(&DeliveryBody { event, previous, replay })? })
    }

    /// Of a test.
    pub(super) fn for_test(id: Uuid, log_id: Uuid, webhook: &str, now: Timestamp) -> Self {
        let id = id.hyphenated().to_string();
        let body = json!({
            "specversion": "1.0",
            "id": id,
            "source": format!("/aegis/{}", log_id.hyphenated()),
            "type": TEST_EVENT_TYPE,
            "subject": webhook,
            "time": rfc3339(now),
            "datacontenttype": "application/json",
            "data": {},
        });
        Self { body: body.to_string().into_bytes(), id }
    }

    /// The headers, signed with every secret that is valid now.
    pub(super) fn headers(&self, webhook: &ActiveWebhook, now: Timestamp) -> HeaderMap {
        let moment = Moment::from_millisecond(now.as_millisecond());
        let secrets = moment.map_or_else(|_| Vec::new(), |moment| webhook.secrets(moment));
        let time = now.as_second();
        let signature = sign(&secrets, &self.id, time, &self.body);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, CLOUD_EVENTS_JSON);
        headers.insert(TIME, HeaderValue::from(time));
        for (name, value) in [(ID, &self.id), (SIGNATURE, &signature)] {
            // Both are made of characters that a header may have.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers
    }
}
