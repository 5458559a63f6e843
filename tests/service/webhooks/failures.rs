//! Receivers that fail: order is kept, nothing is lost, and nobody else waits.

use std::time::{Duration, Instant};

use domain::Role;
use jiff::{SignedDuration, Timestamp};

use super::{Webhook, sign_ups};
use crate::support::{Delivery, Receiver, Reply, Store, TestApp, on_both_stores, until};

on_both_stores! {
    events_arrive_in_order_each_naming_the_one_before
    a_receiver_that_fails_in_every_way_misses_nothing
    a_receiver_that_hangs_is_tried_again
    a_dead_receiver_delays_nobody_else
    a_receiver_may_ask_for_more_time
    what_fails_for_three_days_is_parked_until_it_is_resumed
    a_receiver_that_is_gone_is_parked_at_once
    another_node_goes_on_where_the_first_has_stopped
    types_are_a_filter_and_what_they_pass_over_is_looked_at
}

fn positions(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(Delivery::position).collect()
}

async fn events_arrive_in_order_each_naming_the_one_before(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 5).await;
    let arrived = receiver.accepted(usize::try_from(last).unwrap()).await;
    // What the owner sees of the log, and the position of the one before.
    let mut log = subscriber.whole_log().await;
    for (event, previous) in log.iter_mut().zip(0_u64..) {
        event["previous"] = previous.into();
    }
    assert_eq!(arrived.iter().map(Delivery::json).collect::<Vec<_>>(), log);
    let first = &arrived[0].headers;
    assert_eq!(first["content-type"], "application/cloudevents+json; charset=utf-8");
    assert_eq!(first["webhook-id"], log[0]["id"].as_str().unwrap());
    let shown = until("progress", async || {
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

async fn a_receiver_that_fails_in_every_way_misses_nothing(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let subscriber = app.user_with(Role::Subscriber).await;
    let ok = || Reply::Status(200);
    receiver.next([
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
    let accepted = receiver.accepted(usize::try_from(last).unwrap()).await;
    assert_eq!(positions(&accepted), (1..=last).collect::<Vec<_>>());
    // Whatever was not accepted came again, the same to the letter under the same id, before anything else.
    let all = receiver.deliveries();
    for pair in all.windows(2).filter(|pair| !pair[0].is_accepted()) {
        assert_eq!(pair[0].body, pair[1].body);
        assert_eq!(pair[0].headers["webhook-id"], pair[1].headers["webhook-id"]);
    }
    assert_eq!(all.len(), accepted.len() + 7);
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
    let attempts = until("the log of attempts", async || {
        Some(webhook.attempts().await).filter(|attempts| attempts.len() == all.len())
    })
    .await;
    let failed: Vec<_> = attempts.iter().filter_map(|attempt| attempt["error"].as_str()).collect();
    let broke_off = "the connection broke off before the answer was complete";
    let redirected = "status 302: redirects are not followed";
    assert_eq!(
        failed,
        ["status 500", broke_off, broke_off, redirected, redirected, "status 404", "status 400"]
    );
}

async fn a_receiver_that_hangs_is_tried_again(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.next([Reply::Hang]);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let accepted = receiver.accepted(3).await;
    assert_eq!(positions(&accepted), [1, 2, 3]);
    let attempts = until("the log of attempts", async || {
        Some(webhook.attempts().await).filter(|attempts| attempts.len() == 4)
    })
    .await;
    assert_eq!(attempts[0]["error"], "no answer within 15 s");
    assert!(attempts[0]["latency_ms"].as_u64().unwrap() >= 15_000, "{}", attempts[0]);
}

async fn a_dead_receiver_delays_nobody_else(store: Store) {
    let app = TestApp::start(store).await;
    let (hanging, failing, living) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    let subscriber = app.user_with(Role::Subscriber).await;
    hanging.always(Reply::Hang);
    failing.always(Reply::Status(500));
    for receiver in [&hanging, &failing] {
        Webhook::register(&subscriber, receiver, 0).await;
    }
    hanging.arrived(1).await;
    failing.arrived(1).await;
    let begun = Instant::now();
    Webhook::register(&subscriber, &living, 0).await;
    let last = sign_ups(&app, "user", 20).await;
    let accepted = living.accepted(usize::try_from(last).unwrap()).await;
    assert_eq!(positions(&accepted), (1..=last).collect::<Vec<_>>());
    // The other two are still at their first event.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    for receiver in [&hanging, &failing] {
        assert!(receiver.deliveries().iter().all(|delivery| delivery.position() == 1));
    }
}

async fn a_receiver_may_ask_for_more_time(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.next([Reply::RetryAfter(600)]);
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let shown =
        until("a failure", async || Some(webhook.show().await).filter(|shown| shown["state"] == "failing"))
            .await;
    let moment = |field: &str| shown["failing"][field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let pause = moment("next_attempt_at").duration_since(moment("since"));
    assert!(pause >= SignedDuration::from_secs(600) && pause < SignedDuration::from_secs(660), "{shown}");
    // Whoever knows better has it tried at once.
    webhook.post("resume").send().await.expect(200);
    receiver.accepted(1).await;
}

async fn what_fails_for_three_days_is_parked_until_it_is_resumed(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.always(Reply::Status(500));
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    receiver.arrived(1).await;
    let failing =
        until("a failure", async || Some(webhook.show().await).filter(|shown| shown["state"] == "failing"))
            .await;
    assert_eq!(failing["failing"]["error"], "status 500");
    app.clock.set(app_time() + SignedDuration::from_hours(73));
    let parked = until("a parked webhook", async || {
        Some(webhook.show().await).filter(|shown| shown["state"] == "parked")
    })
    .await;
    assert_eq!((&parked["parked"], parked["position"].as_u64()), (&"failing".into(), Some(0)));
    let tried = receiver.deliveries().len();
    receiver.always(Reply::Status(204));
    let last = sign_ups(&app, "user", 3).await;
    assert_eq!(receiver.deliveries().len(), tried, "a parked webhook was sent something");
    let resumed = webhook.post("resume").send().await.expect(200).json();
    assert_eq!(resumed["state"], "active");
    let accepted = receiver.accepted(usize::try_from(last).unwrap()).await;
    let through = positions(&accepted);
    assert!(through.iter().copied().take(usize::try_from(last).unwrap()).eq(1..=last), "{through:?}");
}

fn app_time() -> Timestamp {
    store::Ambient::system().now()
}

async fn a_receiver_that_is_gone_is_parked_at_once(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    receiver.always(Reply::Status(410));
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let parked = until("a parked webhook", async || {
        Some(webhook.show().await).filter(|shown| shown["state"] == "parked")
    })
    .await;
    assert_eq!(parked["parked"], "gone");
    assert_eq!(receiver.deliveries().len(), 1);
}

async fn another_node_goes_on_where_the_first_has_stopped(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 3).await;
    receiver.accepted(usize::try_from(last).unwrap()).await;
    let second = app.second_node().await;
    app.stopped().await;
    let begun = Instant::now();
    let last = sign_ups(&second, "other", 3).await;
    let accepted = receiver.accepted(usize::try_from(last).unwrap()).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // A node that ends well leaves nothing to be delivered twice.
    assert_eq!(positions(&accepted), (1..=last).collect::<Vec<_>>());
}

async fn types_are_a_filter_and_what_they_pass_over_is_looked_at(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let types = ["WebhookRegistered", "UserRegistered", "UserRegistered"];
    let body = serde_json::json!({"url": receiver.url("127.0.0.1"), "types": types, "after": 0});
    let webhook = Webhook::of(&subscriber, &body).await;
    assert_eq!(webhook.show().await["types"], serde_json::json!(["WebhookRegistered", "UserRegistered"]));
    app.admin().await;
    let log = subscriber.whole_log().await;
    let wanted: Vec<_> =
        log.iter().filter(|event| types.iter().any(|wanted| event["type"] == *wanted)).collect();
    let accepted = receiver.accepted(wanted.len()).await;
    let mut previous = 0;
    for (delivery, event) in accepted.iter().zip(&wanted) {
        assert_eq!(delivery.json()["position"], event["position"]);
        assert_eq!(delivery.json()["previous"], previous);
        previous = delivery.position();
    }
    let head = log.last().unwrap()["position"].as_u64().unwrap();
    assert!(previous < head, "the last event is passed over");
    until("progress", async || (webhook.show().await["position"].as_u64() >= Some(previous)).then_some(()))
        .await;
}
