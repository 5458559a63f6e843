//! Deliveries of several events at once, in the batch format of `CloudEvents`.

use domain::Role;
use serde_json::{Value, json};

use super::signatures::checked;
use super::{Webhook, sign_ups};
use crate::support::{
    Deployment, MASTER_KEY, ReceivedDelivery, Reply, Store, TestApp, WebhookReceiver, eventually,
    on_both_stores,
};

on_both_stores! {
    events_are_delivered_in_batches_of_the_requested_size
    failed_batch_is_repeated_as_it_was
    batch_size_is_from_1_to_100
    batches_are_registered_on_the_command_line
}

/// Positions, and the positions before them, of the events of a batch.
fn events(delivery: &ReceivedDelivery) -> Vec<(u64, u64)> {
    assert_eq!(delivery.headers["content-type"], "application/cloudevents-batch+json; charset=utf-8");
    let body = delivery.json();
    let number = |event: &Value, field: &str| event[field].as_u64().unwrap();
    let events = body.as_array().unwrap().iter();
    events.map(|event| (number(event, "position"), number(event, "previous"))).collect()
}

async fn events_are_delivered_in_batches_of_the_requested_size(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, ada) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let before = app.head().await;
    let last = sign_ups(&app, "user", 7).await;
    let body =
        json!({"url": receiver.url("127.0.0.1"), "after": before, "batch": 3, "types": ["UserRegistered"]});
    let webhook = Webhook::of(&ada, &body).await;
    assert_eq!(webhook.show().await["batch"], 3);
    // They were all there when the webhook was registered.
    let deliveries = receiver.wait_for_accepted(3).await;
    let batches: Vec<_> = deliveries.iter().map(events).collect();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1], "{batches:?}");
    let positions: Vec<_> = (before + 1..=last).collect();
    assert_eq!(batches.concat().iter().map(|event| event.0).collect::<Vec<_>>(), positions);
    let previous: Vec<_> = (before..last).collect();
    assert_eq!(batches.concat().iter().map(|event| event.1).collect::<Vec<_>>(), previous);
    // Signatures and events are those of the standards.
    let found = checked(&[&webhook.secret], &deliveries);
    assert_eq!(found.iter().map(|event| event[2].as_u64().unwrap()).collect::<Vec<_>>(), positions);
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.headers["webhook-id"].clone()).collect();
    let first = found[0][1].as_str().unwrap();
    assert_eq!(ids[0], format!("batch-{first}-3"));
    let attempts = eventually("the attempts", async || {
        Some(webhook.attempts().await).filter(|attempts| attempts.len() == 3)
    })
    .await;
    assert_eq!(attempts[0]["batch"], 3);
    assert_eq!((&attempts[0]["event"], &attempts[0]["position"]), (&json!(first), &json!(before + 1)));
    let shown = eventually("the cursor", async || {
        Some(webhook.show().await).filter(|shown| shown["previous"] == last)
    });
    assert!(shown.await["position"].as_u64().unwrap() >= last);
    // What matches comes in an array also if it is one event.
    let next = sign_ups(&app, "late", 1).await;
    let deliveries = receiver.wait_for_accepted(4).await;
    assert_eq!(events(&deliveries[3]), [(next, last)]);
}

async fn failed_batch_is_repeated_as_it_was(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, ada) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.queue_replies([Reply::Status(500)]);
    let before = app.head().await;
    sign_ups(&app, "user", 4).await;
    let body = json!({"url": receiver.url("127.0.0.1"), "after": before, "batch": 2});
    let webhook = Webhook::of(&ada, &body).await;
    let failing = eventually("the failure", async || {
        Some(webhook.show().await["failing"].clone()).filter(|failing| !failing.is_null())
    });
    assert_eq!(failing.await["position"], before + 1, "the first event of the batch");
    receiver.wait_for_accepted(2).await;
    let deliveries = receiver.deliveries();
    assert_eq!(deliveries[0].body, deliveries[1].body);
    assert_eq!(deliveries[0].headers["webhook-id"], deliveries[1].headers["webhook-id"]);
    assert_ne!(deliveries[1].headers["webhook-id"], deliveries[2].headers["webhook-id"]);
    assert_eq!(events(&deliveries[2])[0], (before + 3, before + 2));
}

async fn batch_size_is_from_1_to_100(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, ada) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    for wrong in [json!(0), json!(101), json!("3"), json!(1.5)] {
        let body = json!({"url": receiver.url("127.0.0.1"), "batch": wrong});
        let refused = ada.post("/webhooks").json(&body).send().await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", "batch"]), "{refused}");
    }
    for (given, shown) in [(json!(1), json!(1)), (json!(100), json!(100)), (Value::Null, Value::Null)] {
        let webhook = Webhook::of(&ada, &json!({"url": receiver.url("127.0.0.1"), "batch": given})).await;
        assert_eq!(webhook.show().await["batch"], shown);
        webhook.post("test").send().await.expect(200);
        let deliveries = receiver.deliveries();
        let test = deliveries.iter().rev().find(|delivery| delivery.body.contains("WebhookTest")).unwrap();
        assert_eq!(test.json().is_array(), !shown.is_null(), "{test:?}");
    }
}

async fn batches_are_registered_on_the_command_line(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, ada) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let deployment = Deployment::of(app.store().clone())
        .with("AEGIS_MASTER_KEY", MASTER_KEY)
        .with("AEGIS_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8");
    let url = receiver.url("127.0.0.1");
    let arguments = ["webhooks", "register", &url, "--owner", &ada.id, "--batch"];
    deployment.run_ok(&[&arguments[..], &["25"]].concat()).await;
    let listed = deployment.run_ok(&["webhooks", "list", "--json"]).await.stdout;
    let webhook: Value = serde_json::from_str(listed.trim()).unwrap();
    assert_eq!(webhook["batch"], 25);
    let refused = deployment.run(&[&arguments[..], &["101"]].concat()).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("from 1 to 100"), "{refused:?}");
}
