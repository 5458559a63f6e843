//! Replays of a range of events.

use domain::Role;
use serde_json::json;

use super::{Webhook, sign_ups};
use crate::support::{ReceivedDelivery, Reply, Store, TestApp, WebhookReceiver, eventually, on_both_stores};

on_both_stores! {
    replay_redelivers_a_range_then_resumes
    interrupted_replay_is_resumed
    replay_preserves_the_failing_delivery_behind_it
    replay_range_outside_the_log_is_rejected
    queued_replays_are_limited_and_can_be_cancelled
}

async fn replay_redelivers_a_range_then_resumes(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let types = ["UserRegistered"];
    let body = json!({"url": receiver.url("127.0.0.1"), "types": types, "after": 0});
    let webhook = Webhook::of(&subscriber, &body).await;
    let last = sign_ups(&app, "user", 4).await;
    let first = receiver.wait_for_accepted(5).await;
    eventually("progress", async || (webhook.show().await["previous"].as_u64() == Some(last)).then_some(()))
        .await;
    let asked =
        webhook.post("replay").json(&json!({"from": 3, "to": last - 1})).send().await.expect(202).json();
    assert_eq!(asked["replays"], 1);
    let again: Vec<_> = first
        .iter()
        .filter(|delivery| (3..last).contains(&delivery.position()))
        .map(ReceivedDelivery::json)
        .collect();
    let all = receiver.wait_for_accepted(5 + again.len()).await;
    let mut previous = 2;
    for (delivery, before) in all[5..].iter().zip(&again) {
        let sent = delivery.json();
        assert_eq!((&sent["id"], &sent["position"]), (&before["id"], &before["position"]));
        assert_eq!((&sent["replay"], &sent["previous"]), (&json!(true), &json!(previous)));
        previous = delivery.position();
    }
    eventually("the end of the replay", async || (webhook.show().await["replays"] == 0).then_some(())).await;
    // The next event names the last one delivered before the replay.
    sign_ups(&app, "next", 1).await;
    let next = receiver.wait_for_accepted(6 + again.len()).await.pop().unwrap().json();
    assert_eq!((next.get("replay"), &next["previous"]), (None, &json!(last)));
}

async fn interrupted_replay_is_resumed(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 4).await;
    let count = usize::try_from(last).unwrap();
    receiver.wait_for_accepted(count).await;
    eventually("progress", async || (webhook.show().await["previous"].as_u64() == Some(last)).then_some(()))
        .await;
    let ok = || Reply::Status(200);
    receiver.queue_replies([ok(), ok(), Reply::RetryAfter(600)]);
    webhook.post("replay").json(&json!({"from": 1, "to": last})).send().await.expect(202);
    receiver.wait_for_deliveries(count + 3).await;
    eventually("a failure", async || (webhook.show().await["state"] == "failing").then_some(())).await;
    let second = app.start_second_node().await;
    app.stopped().await;
    let subscriber = subscriber.at(&second);
    let webhook = Webhook { owner: &subscriber, ..webhook };
    webhook.post("resume").send().await.expect(200);
    let all = receiver.wait_for_accepted(2 * count).await;
    let replayed: Vec<_> = all[count..2 * count].iter().map(ReceivedDelivery::position).collect();
    assert_eq!(replayed, (1..=last).collect::<Vec<_>>());
}

async fn replay_preserves_the_failing_delivery_behind_it(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let ok = || Reply::Status(200);
    receiver.queue_replies([ok(), ok(), Reply::RetryAfter(600)]);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let failing = async || {
        eventually("a failure", async || {
            Some(webhook.show().await["failing"].clone()).filter(|failing| failing["position"] == 3)
        })
        .await
    };
    let before = failing().await;
    webhook.post("replay").json(&json!({"from": 1, "to": 3})).send().await.expect(202);
    let replayed: Vec<_> =
        receiver.wait_for_accepted(4).await[2..].iter().map(ReceivedDelivery::position).collect();
    assert_eq!(replayed, [1, 2], "3 was never delivered, and is not part of it");
    eventually("the end of the replay", async || (webhook.show().await["replays"] == 0).then_some(())).await;
    assert_eq!(failing().await, before, "it is tried for three days from the first failure on");
}

async fn replay_range_outside_the_log_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    for (body, kind, field) in [
        (json!({"from": 1}), "missing", "to"),
        (json!({"from": 0, "to": 1}), "greater_than_equal", "from"),
        (json!({"from": 3, "to": 2}), "less_than_equal", "from"),
        (json!({"from": 1, "to": 1_000}), "less_than_equal", "to"),
    ] {
        let refused = webhook.post("replay").json(&body).send().await.expect(422).json();
        let fault = &refused["detail"][0];
        assert_eq!((&fault["type"], &fault["loc"]), (&json!(kind), &json!(["body", field])), "{body}");
    }
}

async fn queued_replays_are_limited_and_can_be_cancelled(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserRegistered"], "after": 0});
    let webhook = Webhook::of(&subscriber, &body).await;
    receiver.wait_for_accepted(1).await;
    eventually("progress", async || (webhook.show().await["previous"] == 1).then_some(())).await;
    receiver.set_default_reply(Reply::RetryAfter(600));
    let replay = || webhook.post("replay").json(&json!({"from": 1, "to": 1})).send();
    for queued in 1..=10 {
        assert_eq!(replay().await.expect(202).json()["replays"], queued);
    }
    let head = app.head().await;
    assert_eq!(replay().await.expect(409).json()["code"], "too_many_replays");
    assert_eq!(app.head().await, head);
    eventually("a failing replay", async || (webhook.show().await["state"] == "failing").then_some(())).await;
    let cancel = || subscriber.delete(&format!("/webhooks/{}/replays", webhook.id)).send();
    let cancelled = cancel().await.expect(200);
    assert_eq!((&cancelled.json()["replays"], &cancelled.json()["state"]), (&json!(0), &json!("active")));
    cancel().await.expect(200);
    assert_eq!(app.head().await, head + 1, "nothing is left to cancel");
    let before = receiver.deliveries().len();
    receiver.set_default_reply(Reply::Status(200));
    let last = sign_ups(&app, "next", 1).await;
    eventually("normal delivery", async || {
        (webhook.show().await["previous"].as_u64() == Some(last)).then_some(())
    })
    .await;
    replay().await.expect(202);
    eventually("the end of the replay", async || (webhook.show().await["replays"] == 0).then_some(())).await;
    let later: Vec<_> = receiver.deliveries()[before..]
        .iter()
        .map(|delivery| (delivery.position(), delivery.json().get("replay").is_some()))
        .collect();
    assert_eq!(later, [(last, false), (1, true)]);
}
