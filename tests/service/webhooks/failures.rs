//! Failing receivers: order is preserved, no event is lost, and other webhooks are not delayed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Role;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use store::StreamId;

use super::{Webhook, sign_ups};
use crate::support::{
    ReceivedDelivery, Reply, Store, TestApp, User, WebhookReceiver, eventually, on_both_stores,
};

on_both_stores! {
    events_are_delivered_in_order_each_naming_the_previous_one
    failing_receiver_eventually_gets_every_event
    closed_pooled_connection_is_no_failed_attempt
    broken_new_connection_is_a_failed_attempt
    hanging_receiver_is_retried
    dead_receiver_does_not_delay_other_webhooks
    retry_after_of_the_receiver_is_honoured
    webhook_failing_for_three_days_is_suspended_until_resumed
    downtime_does_not_count_towards_suspension
    clock_jump_does_not_count_towards_suspension
    webhook_answering_410_is_suspended_at_once
    resume_during_an_attempt_outlives_the_suspension_decided_on_it
    resume_changes_nothing_unless_delivery_is_held_up
    another_node_resumes_at_the_delivery_cursor
    type_filter_advances_the_cursor_past_other_events
}

fn positions(deliveries: &[ReceivedDelivery]) -> Vec<u64> {
    deliveries.iter().map(ReceivedDelivery::position).collect()
}

async fn events_are_delivered_in_order_each_naming_the_previous_one(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 5).await;
    let arrived = receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    // The event as the owner sees it, plus the position of the previous one.
    let mut log = subscriber.whole_log().await;
    for (event, previous) in log.iter_mut().zip(0_u64..) {
        event["previous"] = previous.into();
    }
    assert_eq!(arrived.iter().map(ReceivedDelivery::json).collect::<Vec<_>>(), log);
    let first = &arrived[0].headers;
    assert_eq!(first["content-type"], "application/cloudevents+json; charset=utf-8");
    assert_eq!(first["webhook-id"], log[0]["id"].as_str().unwrap());
    let shown = eventually("progress", async || {
        Some(webhook.show().await).filter(|shown| shown["position"].as_u64() == Some(last))
    })
    .await;
    assert_eq!((&shown["state"], &shown["previous"]), (&"active".into(), &last.into()));
    let attempts = webhook.attempts().await;
    assert_eq!(attempts.len(), arrived.len());
    for (attempt, event) in attempts.iter().zip(&log) {
        assert_eq!(attempt["position"], event["position"]);
        assert_eq!((&attempt["event"], &attempt["type"]), (&event["id"], &event["type"]));
        assert_eq!((attempt["status"].as_u64(), attempt["attempt"].as_u64()), (Some(204), Some(1)));
        assert!(attempt["delivered"] == true && attempt["latency_ms"].is_u64(), "{attempt}");
    }
}

async fn failing_receiver_eventually_gets_every_event(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, elsewhere) = (WebhookReceiver::start().await, WebhookReceiver::start().await);
    let subscriber = app.user_with(Role::Subscriber).await;
    let ok = || Reply::Status(200);
    receiver.queue_replies([
        Reply::Status(500),
        ok(),
        Reply::Close,
        ok(),
        Reply::CloseHalfway,
        ok(),
        Reply::Redirect(elsewhere.url("127.0.0.1")),
        ok(),
        Reply::Redirect("http://169.254.169.254/latest/meta-data/".to_owned()),
        ok(),
        Reply::Status(404),
        ok(),
        Reply::Status(400),
    ]);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 8).await;
    let accepted = receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    assert_eq!(positions(&accepted), (1..=last).collect::<Vec<_>>());
    // Every rejected delivery was repeated byte for byte under the same id before the next event.
    let all = receiver.deliveries();
    for pair in all.windows(2).filter(|pair| !pair[0].is_accepted()) {
        assert_eq!(pair[0].body, pair[1].body);
        assert_eq!(pair[0].headers["webhook-id"], pair[1].headers["webhook-id"]);
    }
    assert_eq!(all.len(), accepted.len() + 7);
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
    // `Reply::Close` closed a connection of the pool, which was no failed attempt.
    let attempts = eventually("the log of attempts", async || {
        Some(webhook.attempts().await).filter(|attempts| attempts.len() == all.len() - 1)
    })
    .await;
    let failed: Vec<_> = attempts.iter().filter_map(|attempt| attempt["error"].as_str()).collect();
    let broke_off = "the connection broke off before the answer was complete";
    let redirected = "status 302: redirects are not followed";
    assert_eq!(failed, ["status 500", broke_off, redirected, redirected, "status 404", "status 400"]);
}

async fn closed_pooled_connection_is_no_failed_attempt(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.set_default_reply(Reply::StatusThenClose(204));
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 10).await;
    let count = usize::try_from(last).unwrap();
    let accepted = receiver.wait_for_accepted(count).await;
    assert_eq!(positions(&accepted), (1..=last).collect::<Vec<_>>());
    let attempts = eventually("the log of attempts", async || {
        Some(webhook.attempts().await).filter(|attempts| attempts.len() >= count)
    })
    .await;
    assert!(attempts.iter().all(|attempt| attempt["delivered"] == true), "{attempts:?}");
    assert_eq!(attempts.len(), count);
}

async fn broken_new_connection_is_a_failed_attempt(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.queue_replies([Reply::Close]);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    receiver.wait_for_accepted(1).await;
    let attempts = eventually("the log of attempts", async || {
        Some(webhook.attempts().await).filter(|attempts| attempts.len() >= 2)
    })
    .await;
    assert_eq!(attempts[0]["error"], "the connection broke off before the answer was complete");
    assert_eq!(attempts[1]["attempt"], 2);
}

async fn hanging_receiver_is_retried(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.queue_replies([Reply::Hang]);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let accepted = receiver.wait_for_accepted(3).await;
    assert_eq!(positions(&accepted), [1, 2, 3]);
    let attempts = eventually("the log of attempts", async || {
        Some(webhook.attempts().await).filter(|attempts| attempts.len() == 4)
    })
    .await;
    assert_eq!(attempts[0]["error"], "no answer within 15 s");
    assert!(attempts[0]["latency_ms"].as_u64().unwrap() >= 15_000, "{}", attempts[0]);
}

async fn dead_receiver_does_not_delay_other_webhooks(store: Store) {
    let app = TestApp::start(store).await;
    let (hanging, failing, living) =
        (WebhookReceiver::start().await, WebhookReceiver::start().await, WebhookReceiver::start().await);
    let subscriber = app.user_with(Role::Subscriber).await;
    hanging.set_default_reply(Reply::Hang);
    failing.set_default_reply(Reply::Status(500));
    for receiver in [&hanging, &failing] {
        Webhook::register(&subscriber, receiver, 0).await;
    }
    hanging.wait_for_deliveries(1).await;
    failing.wait_for_deliveries(1).await;
    let begun = Instant::now();
    Webhook::register(&subscriber, &living, 0).await;
    let last = sign_ups(&app, "user", 20).await;
    let accepted = living.wait_for_accepted(usize::try_from(last).unwrap()).await;
    assert_eq!(positions(&accepted), (1..=last).collect::<Vec<_>>());
    // The two dead receivers are still at their first event.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    for receiver in [&hanging, &failing] {
        assert!(receiver.deliveries().iter().all(|delivery| delivery.position() == 1));
    }
}

async fn retry_after_of_the_receiver_is_honoured(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.queue_replies([Reply::RetryAfter(600)]);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let shown = eventually("a failure", async || {
        Some(webhook.show().await).filter(|shown| shown["state"] == "failing")
    })
    .await;
    let moment = |field: &str| shown["failing"][field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let pause = moment("next_attempt_at").duration_since(moment("since"));
    assert!(pause >= SignedDuration::from_secs(600) && pause < SignedDuration::from_secs(660), "{shown}");
    // Resuming retries at once.
    webhook.post("resume").send().await.expect(200);
    receiver.wait_for_accepted(1).await;
}

/// A service that was stopped while the first event of a webhook was failing, its receiver, owner and id; the
/// stored failure was changed meanwhile. The next attempt is due.
async fn stopped_while_failing(
    store: &Store,
    change: impl FnOnce(&mut Value),
) -> (WebhookReceiver, User, String) {
    let app = TestApp::start(store.clone()).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.set_default_reply(Reply::RetryAfter(3_600));
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    eventually("a failure", async || (webhook.show().await["state"] == "failing").then_some(())).await;
    let (id, deliveries) = (webhook.id.clone(), Arc::clone(&app.services().deliveries));
    app.stopped().await;
    let stream = StreamId::new(format!("webhook-{id}")).unwrap();
    let mut progress = deliveries.progress(&stream).await.unwrap().unwrap();
    progress.revision += 1;
    progress.state["failing"]["again"] = "2020-01-01T00:00:00Z".into();
    change(&mut progress.state["failing"]);
    deliveries.record(&stream, &progress, &[]).await.unwrap();
    (receiver, subscriber, id)
}

async fn webhook_failing_for_three_days_is_suspended_until_resumed(store: Store) {
    // As after 72 attempts, each an hour after the previous one.
    let hour_by_hour = |failing: &mut Value| failing["retried_for_ms"] = (71 * 3_600_000).into();
    let (receiver, subscriber, id) = stopped_while_failing(&store, hour_by_hour).await;
    let app = TestApp::start(store).await;
    let subscriber = subscriber.at(&app);
    let webhook = Webhook::existing(&subscriber, &id);
    let suspended = eventually("a suspended webhook", async || {
        Some(webhook.show().await).filter(|shown| shown["state"] == "suspended")
    })
    .await;
    assert_eq!((&suspended["suspended"], suspended["position"].as_u64()), (&"failing".into(), Some(0)));
    let tried = receiver.deliveries().len();
    receiver.set_default_reply(Reply::Status(204));
    let last = sign_ups(&app, "user", 3).await;
    assert_eq!(receiver.deliveries().len(), tried, "a suspended webhook was sent something");
    let resumed = webhook.post("resume").send().await.expect(200).json();
    assert_eq!(resumed["state"], "active");
    let accepted = receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    let through = positions(&accepted);
    assert!(through.iter().copied().take(usize::try_from(last).unwrap()).eq(1..=last), "{through:?}");
}

async fn downtime_does_not_count_towards_suspension(store: Store) {
    let since = (app_time() - SignedDuration::from_hours(80)).to_string();
    let four_days_ago = |failing: &mut Value| failing["since"] = since.into();
    let (receiver, subscriber, id) = stopped_while_failing(&store, four_days_ago).await;
    receiver.set_default_reply(Reply::Status(500));
    let app = TestApp::start(store).await;
    let subscriber = subscriber.at(&app);
    // After the second attempt, a suspended webhook would get no third one.
    receiver.wait_for_deliveries(3).await;
    let shown = Webhook::existing(&subscriber, &id).show().await;
    assert_eq!(shown["state"], "failing", "{shown}");
}

async fn clock_jump_does_not_count_towards_suspension(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.set_default_reply(Reply::Status(500));
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    receiver.wait_for_deliveries(1).await;
    for (jump, attempts) in [(73, 3), (-73, 4)] {
        app.clock.set(app_time() + SignedDuration::from_hours(jump));
        let shown = eventually("more attempts", async || {
            let shown = webhook.show().await;
            let count = shown["failing"]["attempts"].as_u64();
            (shown["state"] == "suspended" || count >= Some(attempts)).then_some(shown)
        })
        .await;
        assert_eq!(shown["state"], "failing", "{shown}");
    }
}

fn app_time() -> Timestamp {
    store::Env::system().now()
}

async fn webhook_answering_410_is_suspended_at_once(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.set_default_reply(Reply::Status(410));
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let suspended = eventually("a suspended webhook", async || {
        Some(webhook.show().await).filter(|shown| shown["state"] == "suspended")
    })
    .await;
    assert_eq!(suspended["suspended"], "gone");
    assert_eq!(receiver.deliveries().len(), 1);
}

async fn resume_during_an_attempt_outlives_the_suspension_decided_on_it(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.queue_replies([Reply::Status(500), Reply::Held(410)]);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    receiver.wait_for_deliveries(2).await;
    webhook.post("resume").send().await.expect(200);
    receiver.release();
    let last = app.head().await;
    let accepted = receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    assert_eq!(positions(&accepted), (1..=last).collect::<Vec<_>>());
    assert_eq!(webhook.show().await["state"], "active");
}

async fn resume_changes_nothing_unless_delivery_is_held_up(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let head = app.head().await;
    receiver.wait_for_accepted(usize::try_from(head).unwrap()).await;
    for _ in 0..3 {
        let resumed = webhook.post("resume").send().await.expect(200).json();
        assert_eq!(resumed["state"], "active");
    }
    assert_eq!(app.head().await, head, "an event was appended although nothing had to change");
    receiver.queue_replies([Reply::RetryAfter(600)]);
    let last = sign_ups(&app, "user", 1).await;
    eventually("a failure", async || (webhook.show().await["state"] == "failing").then_some(())).await;
    for _ in 0..3 {
        webhook.post("resume").send().await.expect(200);
    }
    receiver.wait_for_accepted(usize::try_from(last + 1).unwrap()).await;
    let log = subscriber.whole_log().await;
    assert_eq!(log.iter().filter(|event| event["type"] == "WebhookResumed").count(), 1);
}

async fn another_node_resumes_at_the_delivery_cursor(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 3).await;
    receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    let second = app.start_second_node().await;
    app.stopped().await;
    let begun = Instant::now();
    let last = sign_ups(&second, "other", 3).await;
    let accepted = receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // A graceful shutdown leads to no duplicate delivery.
    assert_eq!(positions(&accepted), (1..=last).collect::<Vec<_>>());
}

async fn type_filter_advances_the_cursor_past_other_events(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let types = ["WebhookRegistered", "UserRegistered", "UserRegistered"];
    let body = serde_json::json!({"url": receiver.url("127.0.0.1"), "types": types, "after": 0});
    let webhook = Webhook::of(&subscriber, &body).await;
    assert_eq!(webhook.show().await["types"], serde_json::json!(["WebhookRegistered", "UserRegistered"]));
    app.admin().await;
    let log = subscriber.whole_log().await;
    let wanted: Vec<_> =
        log.iter().filter(|event| types.iter().any(|wanted| event["type"] == *wanted)).collect();
    let accepted = receiver.wait_for_accepted(wanted.len()).await;
    let mut previous = 0;
    for (delivery, event) in accepted.iter().zip(&wanted) {
        assert_eq!(delivery.json()["position"], event["position"]);
        assert_eq!(delivery.json()["previous"], previous);
        previous = delivery.position();
    }
    let head = log.last().unwrap()["position"].as_u64().unwrap();
    assert!(previous < head, "the last event is passed over");
    eventually("progress", async || {
        (webhook.show().await["position"].as_u64() >= Some(previous)).then_some(())
    })
    .await;
}
