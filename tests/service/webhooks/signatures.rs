//! Signatures and events, verified by independent libraries.

use std::io::Write;
use std::process::{Command, Stdio};

use domain::{Role, known_schemas};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use store::{Append, ExpectedVersion, NewEvent, StreamId, StreamWrite};
use uuid::Uuid;

use super::{Webhook, sign_ups};
use crate::support::{Store, TestApp, WebhookReceiver, on_both_stores};

on_both_stores! {
    standard_webhooks_libraries_accept_every_signature_and_type
    both_secrets_sign_for_a_day_after_rotation
}

/// Reads `{secrets, headers, body}` line by line, verifies each body with every secret and parses it as a
/// `CloudEvent`.
const CHECK: &str = r#"
import json, sys
from cloudevents.core.bindings.http import from_http_event, HTTPMessage
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    sent = json.loads(line)
    body, headers = sent["body"].encode(), sent["headers"]
    for secret in sent["secrets"]:
        Webhook(secret).verify(body, headers)
    for tampered in (body + b" ", body[:-1]):
        try:
            Webhook(sent["secrets"][0]).verify(tampered, headers)
        except WebhookVerificationError:
            continue
        raise SystemExit("a tampered body was accepted")
    bodies = [body]
    if headers["content-type"].startswith("application/cloudevents-batch+json"):
        # The library reads no batches: their elements are events in structured mode.
        headers["content-type"] = "application/cloudevents+json"
        bodies = [json.dumps(event).encode() for event in json.loads(body)]
    for body in bodies:
        event = from_http_event(HTTPMessage(headers=headers, body=body))
        print(json.dumps([event.get_type(), event.get_id(), event.get_extension("position")]))
"#;

/// Type, id and position of each delivery, as the libraries parse it.
pub(super) fn checked(secrets: &[&str], deliveries: &[crate::support::ReceivedDelivery]) -> Vec<Value> {
    let mut python: Command = testkit::python_with("standardwebhooks==1.1.0 cloudevents==2.2.0");
    python.args(["-c", CHECK]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.spawn().unwrap();
    let lines: Vec<_> = deliveries
        .iter()
        .map(|sent| json!({"secrets": secrets, "headers": sent.headers, "body": sent.body}).to_string())
        .collect();
    let lines = lines.join("\n");
    let mut stdin = python.stdin.take().unwrap();
    let written = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    written.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Appends an event of every type, with personal values.
async fn every_type(app: &TestApp) -> u64 {
    let store = &app.services().store;
    let mut last = 0;
    for (number, (event_type, schema)) in (1_u128..).zip(known_schemas()) {
        let personal: Map<String, Value> = json!({"email": "eve@example.com"}).as_object().unwrap().clone();
        let data = json!({"odd": "é \"quoted\" \u{1F980}"}).as_object().unwrap().clone();
        let id = Uuid::from_u128(number);
        let event = NewEvent { id, event_type: event_type.to_owned(), schema, data, personal };
        // A stream that no read model projects.
        let write = StreamWrite::new(StreamId::new("padding").unwrap(), ExpectedVersion::Any, vec![event]);
        last = store.append(&Append::new("operator:test", "test", vec![write])).await.unwrap().position.get();
    }
    last
}

async fn standard_webhooks_libraries_accept_every_signature_and_type(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    webhook.post("test").send().await.expect(200);
    let last = every_type(&app).await;
    let all = receiver.wait_for_accepted(usize::try_from(last).unwrap() + 1).await;
    let found = checked(&[&webhook.secret], &all);
    assert_eq!(found.len(), all.len());
    for (found, delivery) in found.iter().zip(&all) {
        let sent = delivery.json();
        let position = sent.get("position").cloned().unwrap_or_default();
        assert_eq!(found, &json!([sent["type"], sent["id"], position]));
        assert!(!delivery.body.contains("eve@"), "{}", delivery.body);
    }
    for (event_type, _) in known_schemas() {
        assert!(found.iter().any(|found| found[0] == event_type), "{event_type} was not sent");
    }
}

async fn both_secrets_sign_for_a_day_after_rotation(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let head = app.head().await;
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserRegistered"], "after": head});
    let webhook = Webhook::of(&subscriber, &body).await;
    let rotated = webhook.post("rotate-secret").send().await.expect(200).json();
    let secret = rotated["secret"].as_str().unwrap();
    assert_ne!(secret, webhook.secret);
    webhook.post("test").send().await.expect(200);
    sign_ups(&app, "user", 1).await;
    let both = receiver.wait_for_accepted(2).await;
    assert_eq!(checked(&[secret, &webhook.secret], &both).len(), 2);
    app.clock.set(store::Env::system().now() + SignedDuration::from_hours(25));
    webhook.post("test").send().await.expect(200);
    let one = receiver.wait_for_deliveries(3).await.pop().unwrap();
    let signatures = |delivery: &crate::support::ReceivedDelivery| {
        delivery.headers["webhook-signature"].split(' ').count()
    };
    assert_eq!((signatures(&both[0]), signatures(&one)), (2, 1));
}
