//! Registration, test deliveries, listing and deletion of webhooks.

use domain::Role;
use futures::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use super::{Webhook, sign_ups};
use crate::support::{Reply, Store, TestApp, WebhookReceiver, eventually, on_both_stores};

on_both_stores! {
    registration_with_a_repeated_idempotency_key_creates_one_webhook
    deleted_webhook_gets_no_delivery_and_leaves_no_trace
    test_delivery_is_sent_at_once_and_reports_its_result
    test_deliveries_and_commands_are_limited
    webhook_without_a_position_starts_at_the_head
    attempts_are_paginated
    delivery_attempts_are_counted_in_the_metrics
    webhooks_per_user_are_limited_to_a_hundred
    concurrent_registrations_keep_the_limit
}

async fn registration_with_a_repeated_idempotency_key_creates_one_webhook(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
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

async fn deleted_webhook_gets_no_delivery_and_leaves_no_trace(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    receiver.wait_for_accepted(1).await;
    let deleted = webhook.delete().header("Idempotency-Key", "k1").send().await.expect(204).position();
    let again = webhook.delete().header("Idempotency-Key", "k1").send().await.expect(204).position();
    assert_eq!(again, deleted, "sent again under its key it is answered as the first time");
    webhook.delete().send().await.expect(404);
    for what in ["resume", "test", "rotate-secret"] {
        webhook.post(what).send().await.expect(404);
    }
    subscriber.get(&format!("/webhooks/{}/deliveries", webhook.id)).send().await.expect(404);
    assert_eq!(subscriber.get("/webhooks").send().await.expect(200).json(), json!({"webhooks": []}));
    // Another webhook shows that later events were processed.
    let witness = WebhookReceiver::start().await;
    Webhook::register(&subscriber, &witness, deleted).await;
    let last = sign_ups(&app, "user", 2).await;
    eventually("the other webhook", async || {
        witness.deliveries().iter().any(|delivery| delivery.position() == last).then_some(())
    })
    .await;
    assert!(receiver.deliveries().iter().all(|delivery| delivery.position() <= deleted));
    let stream = store::StreamId::new(format!("webhook-{}", webhook.id)).unwrap();
    eventually("the cleanup", async || {
        app.services().deliveries.progress(&stream).await.unwrap().is_none().then_some(())
    })
    .await;
}

async fn test_delivery_is_sent_at_once_and_reports_its_result(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let head = app.head().await;
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserErased"], "after": head});
    let webhook = Webhook::of(&subscriber, &body).await;
    let tested = webhook.post("test").send().await.expect(200).json();
    assert_eq!(
        (&tested["delivered"], &tested["status"], &tested["error"]),
        (&json!(true), &json!(204), &json!(null))
    );
    let sent = receiver.wait_for_deliveries(1).await.pop().unwrap();
    let event = sent.json();
    assert_eq!((&event["type"], &event["specversion"]), (&json!("WebhookTest"), &json!("1.0")));
    assert_eq!(event["subject"], format!("webhook-{}", webhook.id));
    assert!(event.get("position").is_none() && event["id"] == sent.headers["webhook-id"].as_str());
    receiver.queue_replies([Reply::Status(500)]);
    let tested = webhook.post("test").send().await.expect(200).json();
    assert_eq!((&tested["delivered"], &tested["error"]), (&json!(false), &json!("status 500")));
}

async fn webhook_without_a_position_starts_at_the_head(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let head = app.head().await;
    Webhook::of(&subscriber, &json!({"url": receiver.url("127.0.0.1")})).await;
    let first = receiver.wait_for_accepted(1).await.remove(0).json();
    assert_eq!((&first["type"], &first["position"]), (&json!("WebhookRegistered"), &json!(head + 1)));
    assert_eq!(first["previous"], head);
    assert!(first["data"].get("url").is_none() && first["data"].get("secret").is_none(), "{first}");
}

async fn attempts_are_paginated(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 4).await;
    let count = usize::try_from(last).unwrap();
    receiver.wait_for_accepted(count).await;
    eventually("all attempts", async || (webhook.attempts().await.len() == count).then_some(())).await;
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

async fn delivery_attempts_are_counted_in_the_metrics(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.queue_replies([Reply::Status(500)]);
    Webhook::register(&subscriber, &receiver, 0).await;
    receiver.wait_for_accepted(2).await;
    eventually("metrics", async || {
        let metrics = app.get("/metrics").send().await.expect(200).text();
        let has = |line: &str| metrics.lines().any(|other| other == line);
        let failed = has(r#"aegis_webhook_attempts_total{outcome="failed"} 1"#);
        let active =
            has(r#"aegis_webhooks{state="active"} 1"#) && has(r#"aegis_webhooks{state="suspended"} 0"#);
        (failed && active).then_some(())
    })
    .await;
}

async fn webhooks_per_user_are_limited_to_a_hundred(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
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

/// The limit holds at the commit, on all nodes together, and a deleted webhook makes room.
async fn concurrent_registrations_keep_the_limit(store: Store) {
    let app = TestApp::start(store).await;
    let second = app.start_second_node().await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserErased"]});
    let one = Webhook::of(&subscriber, &body).await;
    for _ in 0..94 {
        subscriber.post("/webhooks").json(&body).send().await.expect(201);
    }
    let nodes = [subscriber.clone(), subscriber.at(&second)];
    let register = |number: usize| nodes[number % 2].post("/webhooks").json(&body).send();
    let answers = join_all((0..16).map(register)).await;
    let created = answers.iter().filter(|answer| answer.status() == 201).count();
    let rejected = answers.iter().filter(|answer| answer.status() == 409).count();
    assert_eq!((created, rejected), (5, 11));
    one.delete().send().await.expect(204);
    subscriber.post("/webhooks").json(&body).send().await.expect(201);
    subscriber.post("/webhooks").json(&body).send().await.expect(409);
}

/// Ten test deliveries per owner and thirty commands per webhook at once, then one every few seconds. Deletion
/// is always possible.
async fn test_deliveries_and_commands_are_limited(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let admin = app.admin().await;
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserErased"]});
    let (one, two) = (Webhook::of(&subscriber, &body).await, Webhook::of(&subscriber, &body).await);
    let others = Webhook::of(&admin, &body).await;
    let sent = accepted_until_limited(&one, "test", 10, 6).await;
    others.post("test").send().await.expect(200);
    assert_eq!(receiver.deliveries().len(), sent + 1);
    accepted_until_limited(&one, "rotate-secret", 30, 10).await;
    two.post("rotate-secret").send().await.expect(200);
    one.delete().send().await.expect(204);
}

/// Sends requests until one is answered with 429; returns how many were accepted. At least a burst is, and one
/// more for each interval that has passed meanwhile.
async fn accepted_until_limited(webhook: &Webhook<'_>, what: &str, burst: usize, interval: u64) -> usize {
    let (started, mut accepted) = (Instant::now(), 0);
    let refused = loop {
        let answer = webhook.post(what).send().await;
        if answer.status() == 429 {
            break answer;
        }
        answer.expect(200);
        accepted += 1;
    };
    let refilled = usize::try_from(started.elapsed().as_secs() / interval).unwrap();
    assert!((burst..=burst + refilled).contains(&accepted), "{accepted} in {:?}", started.elapsed());
    assert_eq!(refused.json()["code"], "too_many_requests");
    assert!((1..=interval).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    accepted
}
