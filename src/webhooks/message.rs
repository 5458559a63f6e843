//! The request of a delivery, by Standard Webhooks 1.0 (<https://www.standardwebhooks.com>): a `CloudEvent`
//! in structured mode, or several in batched mode (HTTP protocol binding 1.0.2, §3.2 and §3.3), signed with
//! HMAC-SHA-256.
//!
//! The body never contains personal values: once sent, they could not be erased.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{ActiveWebhook, Moment, MomentError, WebhookSecret};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::json;
use store::canonical::rfc3339;
use store::{LogIdentity, StoredEvent};
use uuid::Uuid;

use crate::cloud_event::{CloudEvent, Disclosure, source};

const CLOUD_EVENTS_JSON: HeaderValue =
    HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
const CLOUD_EVENTS_BATCH_JSON: HeaderValue =
    HeaderValue::from_static("application/cloudevents-batch+json; charset=utf-8");
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIME: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The type of the event sent by a test delivery. It is not in the log.
const TEST_EVENT_TYPE: &str = "WebhookTest";
const SECRET_PREFIX: &str = "whsec_";
/// How long the previous secret remains valid after a rotation.
const SECRET_OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// The body of a delivery, its media type and its message id.
#[derive(Clone)]
pub(super) struct Message {
    /// The `webhook-id`. It is the same in every attempt at one event, so that receivers can discard
    /// duplicates.
    pub(super) id: String,
    pub(super) body: Vec<u8>,
    content_type: HeaderValue,
}

#[derive(Serialize)]
struct DeliveryBody {
    #[serde(flatten)]
    event: CloudEvent,
    /// The position of the event delivered before this one, or the starting position of the webhook. A
    /// receiver that has not seen it has missed an event.
    previous: u64,
    /// Whether this delivery belongs to a replay.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replay: bool,
}

impl DeliveryBody {
    fn new(event: &StoredEvent, log: LogIdentity, previous: u64, replay: bool) -> Self {
        Self { event: CloudEvent::new(event, log, Disclosure::Redacted), previous, replay }
    }
}

impl Message {
    pub(super) fn for_event(
        event: &StoredEvent,
        log: LogIdentity,
        previous: u64,
        replay: bool,
    ) -> serde_json::Result<Self> {
        let id = event.envelope.id.hyphenated().to_string();
        let body = serde_json::to_vec(&DeliveryBody::new(event, log, previous, replay))?;
        Ok(Self { id, body, content_type: CLOUD_EVENTS_JSON })
    }

    /// The first event and the number of events identify a batch: they follow each other in the log.
    pub(super) fn for_batch(
        events: &[StoredEvent],
        log: LogIdentity,
        previous: u64,
        replay: bool,
    ) -> serde_json::Result<Self> {
        let positions = events.iter().map(|event| event.envelope.position.get());
        let previous = std::iter::once(previous).chain(positions);
        let bodies: Vec<_> = events
            .iter()
            .zip(previous)
            .map(|(event, previous)| DeliveryBody::new(event, log, previous, replay))
            .collect();
        let first = events.first().map(|event| event.envelope.id).unwrap_or_default();
        let id = format!("batch-{}-{}", first.hyphenated(), events.len());
        Ok(Self { id, body: serde_json::to_vec(&bodies)?, content_type: CLOUD_EVENTS_BATCH_JSON })
    }

    /// A test event, in an array if the webhook gets batches.
    pub(super) fn for_test(
        id: Uuid,
        log: LogIdentity,
        webhook: &str,
        now: Timestamp,
        is_batch: bool,
    ) -> Self {
        let id = id.hyphenated().to_string();
        let event = json!({
            "specversion": "1.0",
            "id": id,
            "source": source(log),
            "type": TEST_EVENT_TYPE,
            "subject": webhook,
            "time": rfc3339(now),
            "epoch": log.epoch,
            "datacontenttype": "application/json",
            "data": {},
        });
        let (body, content_type) =
            if is_batch { (json!([event]), CLOUD_EVENTS_BATCH_JSON) } else { (event, CLOUD_EVENTS_JSON) };
        Self { body: body.to_string().into_bytes(), id, content_type }
    }

    /// The request headers, with one signature for each secret that is valid at `now`.
    pub(super) fn headers(&self, webhook: &ActiveWebhook, now: Timestamp) -> HeaderMap {
        let moment = Moment::from_millisecond(now.as_millisecond());
        let secrets = moment.map_or_else(|_| Vec::new(), |moment| webhook.secrets(moment));
        let time = now.as_second();
        let signature = sign(&secrets, &self.id, time, &self.body);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        headers.insert(TIME, HeaderValue::from(time));
        for (name, value) in [(ID, &self.id), (SIGNATURE, &signature)] {
            // Ids and signatures consist of characters that are valid in a header.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// A secret as it is shown to the owner of the webhook: `whsec_` and base64.
pub(crate) fn encode_secret(secret: &WebhookSecret) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(secret.expose()))
}

/// When the current secret stops being valid if it is rotated now.
pub(crate) fn previous_secret_expiry(now: Timestamp) -> Result<Moment, MomentError> {
    let overlap = u64::try_from(SECRET_OVERLAP.as_millis()).unwrap_or_default();
    Moment::from_millisecond(now.as_millisecond().saturating_add_unsigned(overlap))
}

/// The value of `webhook-signature`: a signature for each secret, separated by spaces. `time` is in seconds
/// since the Unix epoch.
fn sign(secrets: &[&WebhookSecret], id: &str, time: i64, body: &[u8]) -> String {
    let signatures: Vec<_> =
        secrets.iter().map(|secret| signature(secret.expose(), id, time, body)).collect();
    signatures.join(" ")
}

fn signature(secret: &[u8], id: &str, time: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(format!("{id}.{time}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_the_example_of_the_specification() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn every_valid_secret_signs() {
        let (new, old) = (WebhookSecret::new([1; 32]), WebhookSecret::new([2; 32]));
        let both = sign(&[&new, &old], "id", 1, b"{}");
        assert_eq!(both, format!("{} {}", sign(&[&new], "id", 1, b"{}"), sign(&[&old], "id", 1, b"{}")));
        assert!(encode_secret(&new).starts_with("whsec_AQEB"));
    }
}
