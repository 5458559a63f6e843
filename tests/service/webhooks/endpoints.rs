//! Registering, trying out, and doing away with a webhook.

use domain::Role;
use serde_json::json;

use super::{Webhook, sign_ups};
use crate::support::{Receiver, Reply, Store, TestApp, on_both_stores, until};

on_both_stores! {
    a_registration_sent_twice_under_a_key_is_one
    a_deleted_webhook_is_sent_nothing_and_leaves_nothing
    a_test_is_sent_at_once_and_says_what_came_of_it
    without_a_position_it_begins_at_the_head
    attempts_are_read_in_pages
    deliveries_are_counted
    a_user_has_at_most_a_hundred
}

async fn a_registration_sent_twice_under_a_key_is_one(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let body = json!({"url": receiver.url("127.0.0.1"), "description": "billing"});
    let register = || subscriber.post("/webhooks").header("Idempotency-Key", "k1").json(&body).send();
    let first = register().await.expect(201);
    let location = first.header("location").to_owned();
    let again = register().await.expect(201);
    assert_eq!((first.json(), first.position()), (again.json(), again.position()));
    assert_eq!(first.json()["description"], "billing");
    assert!(location.ends_with(first.json()["id"].as_str().unwrap()), "{location}");
    assert_eq!(
        subscriber.get("/webhooks").send().await.expect(200).json()["webhooks"].as_array().unwrap().len(),
        1
    );
    let other = json!({"url": receiver.url("localhost")});
    subscriber.post("/webhooks").header("Idempotency-Key", "k1").json(&other).send().await.expect(422);
}

async fn a_deleted_webhook_is_sent_nothing_and_leaves_nothing(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    receiver.accepted(1).await;
    let deleted = webhook.delete().header("Idempotency-Key", "k1").send().await.expect(204).position();
    let again = webhook.delete().header("Idempotency-Key", "k1").send().await.expect(204).position();
    assert_eq!(again, deleted, "sent again under its key it is answered as the first time");
    webhook.delete().send().await.expect(404);
    for what in ["resume", "test", "rotate-secret"] {
        webhook.post(what).send().await.expect(404);
    }
    subscriber.get(&format!("/webhooks/{}/deliveries", webhook.id)).send().await.expect(404);
    assert_eq!(subscriber.get("/webhooks").send().await.expect(200).json(), json!({"webhooks": []}));
    // One that is still delivered beside it shows that what comes later was looked at.
    let witness = Receiver::start().await;
    Webhook::register(&subscriber, &witness, deleted).await;
    let last = sign_ups(&app, "user", 2).await;
    until("the witness", async || {
        witness.deliveries().iter().any(|delivery| delivery.position() == last).then_some(())
    })
    .await;
    assert!(receiver.deliveries().iter().all(|delivery| delivery.position() <= deleted));
    let stream = store::StreamId::new(format!("webhook-{}", webhook.id)).unwrap();
    until("nothing that is left", async || {
        app.node().deliveries.progress(&stream).await.unwrap().is_none().then_some(())
    })
    .await;
}

async fn a_test_is_sent_at_once_and_says_what_came_of_it(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let head = app.node().store.head().await.unwrap().position.get();
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserErased"], "after": head});
    let webhook = Webhook::of(&subscriber, &body).await;
    let tested = webhook.post("test").send().await.expect(200).json();
    assert_eq!(
        (&tested["delivered"], &tested["status"], &tested["error"]),
        (&json!(true), &json!(204), &json!(null))
    );
    let sent = receiver.arrived(1).await.pop().unwrap();
    let event = sent.json();
    assert_eq!((&event["type"], &event["specversion"]), (&json!("WebhookTest"), &json!("1.0")));
    assert_eq!(event["subject"], format!("webhook-{}", webhook.id));
    assert!(event.get("position").is_none() && event["id"] == sent.headers["webhook-id"].as_str());
    receiver.next([Reply::Status(500)]);
    let tested = webhook.post("test").send().await.expect(200).json();
    assert_eq!((&tested["delivered"], &tested["error"]), (&json!(false), &json!("status 500")));
}

async fn without_a_position_it_begins_at_the_head(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let head = app.node().store.head().await.unwrap().position.get();
    Webhook::of(&subscriber, &json!({"url": receiver.url("127.0.0.1")})).await;
    let first = receiver.accepted(1).await.remove(0).json();
    assert_eq!((&first["type"], &first["position"]), (&json!("WebhookRegistered"), &json!(head + 1)));
    assert_eq!(first["previous"], head);
    assert!(first["data"].get("url").is_none() && first["data"].get("secret").is_none(), "{first}");
}

async fn attempts_are_read_in_pages(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 4).await;
    let count = usize::try_from(last).unwrap();
    receiver.accepted(count).await;
    until("all attempts", async || (webhook.attempts().await.len() == count).then_some(())).await;
    let (mut before, mut numbers) = (String::new(), Vec::new());
    loop {
        let path = format!("/webhooks/{}/deliveries?limit=2{before}", webhook.id);
        let page = subscriber.get(&path).send().await.expect(200).json();
        numbers
            .extend(page["deliveries"].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()));
        let Some(next) = page.get("next") else { break };
        before = format!("&before={next}");
    }
    assert_eq!(numbers, (1..=last).rev().collect::<Vec<_>>());
    for bad in ["limit=0", "limit=1001", "before=0", "before=x"] {
        subscriber.get(&format!("/webhooks/{}/deliveries?{bad}", webhook.id)).send().await.expect(422);
    }
}

async fn deliveries_are_counted(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.next([Reply::Status(500)]);
    Webhook::register(&subscriber, &receiver, 0).await;
    receiver.accepted(2).await;
    until("metrics", async || {
        let metrics = app.get("/metrics").send().await.expect(200).text();
        let has = |line: &str| metrics.lines().any(|other| other == line);
        let failed = has(r#"aegis_webhook_attempts_total{outcome="failed"} 1"#);
        let active = has(r#"aegis_webhooks{state="active"} 1"#) && has(r#"aegis_webhooks{state="parked"} 0"#);
        (failed && active).then_some(())
    })
    .await;
}

async fn a_user_has_at_most_a_hundred(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserErased"]});
    for _ in 0..100 {
        subscriber.post("/webhooks").json(&body).send().await.expect(201);
    }
    let refused = subscriber.post("/webhooks").json(&body).send().await.expect(409).json();
    assert_eq!(refused["code"], "too_many_webhooks");
    let page = subscriber.get("/webhooks?limit=60").send().await.expect(200).json();
    let next = page["next"].as_str().unwrap();
    let rest = subscriber.get(&format!("/webhooks?after={next}")).send().await.expect(200).json();
    assert_eq!(page["webhooks"].as_array().unwrap().len() + rest["webhooks"].as_array().unwrap().len(), 100);
    assert!(rest.get("next").is_none(), "{}", rest["next"]);
    subscriber.get("/webhooks?after=x").send().await.expect(422);
}
