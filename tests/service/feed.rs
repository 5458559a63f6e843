//! `GET /events/stream`: the log as it grows (server-sent events).

use std::time::{Duration, Instant};

use domain::{Role, known_schemas};
use serde_json::json;
use store::{Append, ExpectedVersion, NewEvent, StreamId, StreamWrite};
use uuid::Uuid;

use crate::support::{SseItem, Store, TestApp, credentials, eventually, on_both_stores};

on_both_stores! {
    stream_catches_up_then_follows_new_events
    resuming_ten_times_yields_every_event_once_in_order
    last_event_id_takes_precedence_over_after
    stream_without_a_position_starts_at_the_head
    stream_filters_types_and_redacts_personal_values
    subscribers_see_no_personal_data_in_any_event_type
    stream_ends_when_the_reader_loses_authorization
    idle_stream_sends_keep_alives_every_fifteen_seconds
    stream_ends_when_the_service_stops
    slow_subscribers_do_not_affect_others
    lagging_subscriber_is_disconnected_with_its_position
    erased_data_is_not_shown_to_later_subscribers
    streams_per_user_are_limited
    invalid_position_is_rejected
}

async fn stream_catches_up_then_follows_new_events(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let mut stream = admin.get("/events/stream?after=0").open().await;
    let log = admin.whole_log().await;
    for logged in &log {
        let (id, event, data) = stream.event().await.unwrap();
        assert_eq!(
            (json!(id), json!(event), &data),
            (logged["position"].clone(), logged["type"].clone(), logged)
        );
    }
    let position = app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201).position();
    let (id, event, data) = stream.event().await.unwrap();
    assert_eq!((id, event.as_str()), (position, "UserRegistered"));
    assert_eq!(data["data"]["email"], "ada@example.com");
}

async fn resuming_ten_times_yields_every_event_once_in_order(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let head = async || app.head().await;
    let last = head().await + 60;
    let sign_ups = async {
        for number in 0..60 {
            app.post("/auth/signup").json(&credentials(&format!("user{number}"))).send().await.expect(201);
        }
    };
    let reading = async {
        let mut seen: Vec<u64> = Vec::new();
        for round in 1..=10 {
            let resumed = seen.last().copied().unwrap_or(0).to_string();
            let mut stream = admin.get("/events/stream").header("Last-Event-ID", &resumed).open().await;
            let wanted = if round == 10 { last } else { last * round / 10 };
            while seen.last().is_none_or(|seen| *seen < wanted) {
                seen.push(stream.event().await.expect("the stream ended").0);
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(sign_ups, reading);
    assert!(seen.iter().copied().eq(1..=last), "{seen:?}");
    assert_eq!(head().await, last);
}

async fn last_event_id_takes_precedence_over_after(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let stream = admin.get("/events/stream?after=0").header("Last-Event-ID", "2");
    assert_eq!(stream.open().await.positions(1).await, [3]);
    assert_eq!(admin.get("/events/stream?after=1").open().await.positions(2).await, [2, 3]);
}

async fn stream_without_a_position_starts_at_the_head(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let mut stream = admin.get("/events/stream").open().await;
    let position = app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201).position();
    assert_eq!(stream.positions(1).await, [position]);
}

async fn stream_filters_types_and_redacts_personal_values(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, subscriber) = (app.admin().await, app.user_with(Role::Subscriber).await);
    let user = app.sign_up("ada").await;
    admin.deactivate(&user.id).send().await.expect(200);
    let mut stream =
        subscriber.get("/events/stream?after=0&types=UserRegistered,UserDeactivated").open().await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (_, event, data) = stream.event().await.unwrap();
        assert!(
            !data.to_string().contains("example.com") && !data.to_string().contains("asked for"),
            "{data}"
        );
        seen.push(event);
    }
    assert_eq!(seen, ["UserRegistered", "UserRegistered", "UserRegistered", "UserDeactivated"]);
}

/// Events of every type carry the marker in every personal field.
async fn subscribers_see_no_personal_data_in_any_event_type(store: Store) {
    const MARK: &str = "must-not-be-disclosed";
    let app = TestApp::start(store).await;
    let (admin, subscriber) = (app.admin().await, app.user_with(Role::Subscriber).await);
    let mut live = [subscriber.get("/events/stream").open().await, admin.get("/events/stream").open().await];
    let before = app.head().await;
    let types: Vec<_> = known_schemas().map(|(event_type, _)| event_type).collect();
    let fields =
        ["email", "username", "password_hash", "reason", "url", "secret", "description", "something new"];
    let events = types.iter().zip(1_u128..).map(|(event_type, number)| NewEvent {
        id: Uuid::from_u128(number),
        event_type: (*event_type).to_owned(),
        schema: 1,
        data: json!({"open": true}).as_object().unwrap().clone(),
        personal: fields.iter().map(|&field| (field.to_owned(), MARK.into())).collect(),
    });
    let write = StreamWrite::new(StreamId::new("walk").unwrap(), ExpectedVersion::NoStream, events.collect());
    app.services().store.append(&Append::new("operator:test", "test", vec![write])).await.unwrap();
    // Live, during catch-up, and in pages.
    let path = format!("?after={before}");
    let [for_subscriber, for_admin] = &mut live;
    let mut late = subscriber.get(&format!("/events/stream{path}")).open().await;
    for event_type in &types {
        for stream in [&mut *for_subscriber, &mut late] {
            let (_, event, data) = stream.event().await.unwrap();
            assert_eq!((event.as_str(), &data["data"]), (*event_type, &json!({"open": true})));
        }
        let (_, _, data) = for_admin.event().await.unwrap();
        let shown = json!({"open": true, "email": MARK, "username": MARK, "reason": MARK});
        assert_eq!(data["data"], shown, "secrets and what is new stay inside: {event_type}");
    }
    for path in [format!("/events{path}"), format!("/events{path}&wait=5")] {
        let page = subscriber.get(&path).send().await.expect(200);
        assert_eq!(page.json()["events"].as_array().unwrap().len(), types.len());
        assert!(!page.text().contains(MARK), "{}", page.text());
    }
    // A filter by the current name of a renamed type also selects its events under previous names.
    let renamed = subscriber.get("/events?types=WebhookSuspended").send().await.expect(200).json();
    let found: Vec<_> = renamed["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(found, ["WebhookSuspended", "WebhookParked"]);
}

async fn stream_ends_when_the_reader_loses_authorization(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, auditor) = (app.admin().await, app.user_with(Role::Auditor).await);
    let subscriber = app.user_with(Role::Subscriber).await;
    let (mut first, mut second) =
        (auditor.get("/events/stream").open().await, subscriber.get("/events/stream").open().await);
    let position = app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201).position();
    for stream in [&mut first, &mut second] {
        assert_eq!(stream.positions(1).await, [position]);
    }
    admin.deactivate(&auditor.id).send().await.expect(200);
    assert_eq!(first.event().await, None);
    assert_eq!(second.positions(1).await, [position + 1]);
    admin.delete(&format!("/users/{}/roles/subscriber", subscriber.id)).send().await.expect(204);
    app.post("/auth/signup").json(&credentials("bob")).send().await.expect(201);
    assert_eq!(second.event().await, None);
}

async fn idle_stream_sends_keep_alives_every_fifteen_seconds(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let mut stream = admin.get("/events/stream?types=WebhookDeleted").open().await;
    let started = Instant::now();
    let limit = Duration::from_secs(16);
    // The first may come early; two in a row show the interval.
    for _ in 0..2 {
        let item = stream.next_within(limit).await.expect("the stream ended");
        let SseItem::Comment(text) = item else { panic!("{item:?}") };
        assert!(text.contains("head"), "{text}");
        if started.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
}

async fn stream_ends_when_the_service_stops(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(admin.get("/events/stream").open().await);
    }
    let started = Instant::now();
    app.stop();
    for stream in &mut streams {
        assert_eq!(stream.event().await, None);
    }
    app.stopped().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

async fn slow_subscribers_do_not_affect_others(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        slow.push(admin.get("/events/stream?after=0").open().await);
    }
    let mut slowest = Duration::ZERO;
    for number in 0..100 {
        let started = Instant::now();
        app.post("/auth/signup").json(&credentials(&format!("user{number}"))).send().await.expect(201);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "a sign-up took {slowest:?}");
    let head = app.head().await;
    for stream in &mut slow {
        let seen = stream.positions(usize::try_from(head).unwrap()).await;
        assert!(seen.iter().copied().eq(1..=head), "{seen:?}");
    }
    // Disconnected subscribers are released.
    drop(slow);
    eventually("an answer", async || Some(app.readiness().await.expect(200))).await;
}

/// Appends large events that no read model uses.
async fn pad(app: &TestApp, count: usize) {
    let store = &app.services().store;
    let padding = "x".repeat(30_000);
    for number in 0..count {
        let data = json!({"padding": padding}).as_object().unwrap().clone();
        let event = NewEvent {
            id: Uuid::from_u128(u128::try_from(number).unwrap() + 1),
            event_type: "Padding".to_owned(),
            schema: 1,
            data,
            personal: serde_json::Map::new(),
        };
        let write = StreamWrite::new(StreamId::new("padding").unwrap(), ExpectedVersion::Any, vec![event]);
        store.append(&Append::new("operator:test", "test", vec![write])).await.unwrap();
    }
}

async fn lagging_subscriber_is_disconnected_with_its_position(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let mut stream = admin.get("/events/stream").open().await;
    let first = app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201).position();
    assert_eq!(stream.positions(1).await, [first]);
    // More than the socket buffers and the event buffer of 16 MiB hold.
    pad(&app, 1_000).await;
    let mut seen = first;
    let comment = loop {
        match stream.next().await.expect("a last word") {
            SseItem::Event { id, .. } => {
                assert_eq!(id, seen + 1);
                seen = id;
            }
            SseItem::Comment(text) if text.starts_with("head") => {}
            SseItem::Comment(text) => break text,
        }
    };
    assert_eq!(comment, format!("too slow, resume after {seen}"));
    assert_eq!(stream.next().await, None);
    let head = app.head().await;
    assert!(seen < head, "nothing was left to be taken");
    let resumed = admin.get("/events/stream").header("Last-Event-ID", &seen.to_string());
    let rest = resumed.open().await.positions(usize::try_from(head - seen).unwrap()).await;
    assert!(rest.iter().copied().eq(seen + 1..=head), "{rest:?}");
}

async fn erased_data_is_not_shown_to_later_subscribers(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    // While there is a subscriber, new events are buffered.
    let mut follower = admin.get("/events/stream").open().await;
    let user = app.sign_up("ada").await;
    let (registered, _, data) = follower.event().await.unwrap();
    assert_eq!(data["data"]["username"], "ada");
    let body = json!({"reason": "request"});
    admin.post(&format!("/users/{}/erase", user.id)).json(&body).send().await.expect(204);
    let (deactivated, erased) = (follower.event().await.unwrap().1, follower.event().await.unwrap().1);
    assert_eq!([deactivated, erased], ["UserDeactivated", "UserErased"]);
    let mut late = admin.get(&format!("/events/stream?after={}", registered - 1)).open().await;
    let (position, _, data) = late.event().await.unwrap();
    assert_eq!((position, &data["data"]), (registered, &json!({"erased": true})));
}

async fn streams_per_user_are_limited(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, auditor) = (app.admin().await, app.user_with(Role::Auditor).await);
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(admin.get("/events/stream").open().await);
    }
    for path in ["/events/stream", "/events?wait=1"] {
        let refused = admin.get(path).send().await;
        assert_eq!(refused.code(429), "too_many_readers");
        assert!(refused.retry_after() > 0);
    }
    admin.get("/events").send().await.expect(200);
    drop(auditor.get("/events/stream").open().await);
    streams.pop();
    eventually("a free stream", async || {
        let answer = admin.get("/events?after=0&wait=1").send().await;
        (answer.status() == 200).then_some(())
    })
    .await;
}

async fn invalid_position_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    for bad in ["-1", "x", "1.5", "99999999999999999999"] {
        admin.get(&format!("/events/stream?after={bad}")).send().await.expect(422);
        admin.get("/events/stream").header("Last-Event-ID", bad).send().await.expect(422);
    }
    // A position beyond the head belongs to another log.
    let beyond = (app.head().await + 1).to_string();
    let faults = admin.get(&format!("/events/stream?after={beyond}")).send().await.validation_errors();
    assert_eq!(faults[0]["loc"], json!(["query", "after"]));
    let faults =
        admin.get("/events/stream").header("Last-Event-ID", &beyond).send().await.validation_errors();
    assert_eq!(faults[0]["loc"], json!(["header", "last-event-id"]));
}
