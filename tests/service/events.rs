//! `GET /events`: the log in pages.

use domain::Role;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::{Store, TestApp, User, on_both_stores};

on_both_stores! {
    events_are_cloud_events_with_consecutive_positions
    filtered_pages_match_the_filtered_log
    next_advances_when_no_event_matches_the_filter
    personal_values_depend_on_the_role
    no_event_exposes_a_password_hash
    limits_and_positions_are_validated
    long_poll_returns_on_the_next_event
    long_poll_timeout_returns_the_scanned_position
    long_poll_rechecks_authorization_before_answering
}

/// An administrator, an auditor and seven users with some history.
async fn users_with_history(app: &TestApp) -> (User, User) {
    let (admin, auditor) = (app.admin().await, app.user_with(Role::Auditor).await);
    for number in 0..7 {
        let user = app.sign_up(&format!("user{number}")).await;
        if number % 2 == 0 {
            admin.deactivate(&user.id).send().await.expect(200);
        }
        if number % 4 == 0 {
            admin.reactivate(&user.id).send().await.expect(200);
        }
        admin.put(&format!("/users/{}/roles/subscriber", user.id)).send().await.expect(204);
    }
    (admin, auditor)
}

async fn events_are_cloud_events_with_consecutive_positions(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:03:14.680Z".parse().unwrap());
    let (admin, _) = users_with_history(&app).await;
    let page = admin.get("/events?limit=1000").send().await.expect(200).json();
    let events = page["events"].as_array().unwrap();
    assert_eq!((&page["next"], &page["head"]), (&json!(events.len()), &json!(events.len())));
    let source = format!("/aegis/{}", app.services().store.log_id().hyphenated());
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event["position"], json!(position));
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["source"], source.as_str());
        assert_eq!(event["time"], "2026-11-22T08:03:14.680Z");
        assert_eq!(
            (&event["datacontenttype"], &event["schemaversion"]),
            (&json!("application/json"), &json!(1))
        );
        assert!(event["data"].is_object() && event["streamversion"].as_u64() >= Some(1), "{event}");
    }
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len());
    let first = &events[0];
    assert_eq!((&first["type"], &first["subject"]), (&json!("UserRegistered"), &json!(admin.id)));
    assert_eq!(first["actor"], format!("user-{}", admin.id));
    assert_eq!(first["data"], json!({"email": "admin@example.com", "username": "admin"}));
    let deactivated = events.iter().find(|event| event["type"] == "UserDeactivated").unwrap();
    assert_eq!(deactivated["actor"], format!("user-{}", admin.id));
    assert_eq!(
        (&deactivated["streamversion"], &deactivated["data"]["reason"]),
        (&json!(2), &json!("requested by a test"))
    );
    let granted = events.iter().find(|event| event["type"] == "RoleGranted").unwrap();
    assert_eq!((&granted["actor"], &granted["data"]), (&json!("operator:test"), &json!({"role": "admin"})));
}

/// Whether an event matches a filter.
type Predicate<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

async fn filtered_pages_match_the_filtered_log(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, _) = users_with_history(&app).await;
    let whole = admin.whole_log().await;
    let subject = whole.iter().find(|event| event["type"] == "UserReactivated").unwrap()["subject"].clone();
    let subject = subject.as_str().unwrap();
    let actor = format!("user-{}", admin.id);
    let (from, to) = (whole[8]["time"].as_str().unwrap(), whole[20]["time"].as_str().unwrap());
    let filters: Vec<(String, Predicate<'_>)> = vec![
        (String::new(), Box::new(|_| true)),
        ("types=UserDeactivated".into(), Box::new(|event| event["type"] == "UserDeactivated")),
        (
            "types=UserDeactivated,UserReactivated".into(),
            Box::new(|event| event["type"] == "UserDeactivated" || event["type"] == "UserReactivated"),
        ),
        (format!("stream=user-{subject}"), Box::new(|event| event["subject"] == subject)),
        ("stream=system".into(), Box::new(|event| event["type"] == "AdministratorAdded")),
        (format!("actor={actor}"), Box::new(|event| event["actor"] == actor.as_str())),
        (
            format!("types=RoleGranted&actor={actor}"),
            Box::new(|event| event["type"] == "RoleGranted" && event["actor"] == actor.as_str()),
        ),
        (
            format!("from={from}&to={to}"),
            Box::new(|event| event["time"].as_str() >= Some(from) && event["time"].as_str() < Some(to)),
        ),
    ];
    for (filter, matches) in filters {
        let wanted: Vec<_> = whole.iter().filter(|event| matches(event)).cloned().collect();
        assert!(!wanted.is_empty(), "nothing to find by {filter}");
        for limit in [1, 3, 1000] {
            assert_eq!(admin.paged(&format!("/events?{filter}"), limit).await, wanted, "{filter} by {limit}");
        }
    }
}

async fn next_advances_when_no_event_matches_the_filter(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, _) = users_with_history(&app).await;
    for filter in
        ["types=WebhookDeleted", "stream=user-0193e2b4-0000-7000-8000-000000000001", "actor=unknown"]
    {
        assert_eq!(admin.paged(&format!("/events?{filter}"), 2).await, Vec::<Value>::new());
    }
    let head = admin.get("/events").send().await.expect(200).json()["head"].as_u64().unwrap();
    let page = admin.get(&format!("/events?after={head}")).send().await.expect(200).json();
    assert_eq!(page, empty_page(&app, head));
}

/// The page at the end of a log that was never restored.
fn empty_page(app: &TestApp, head: u64) -> Value {
    let log = app.services().store.log_id();
    json!({"events": [], "next": head, "log": log, "epoch": 1, "head": head})
}

async fn personal_values_depend_on_the_role(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, auditor) = users_with_history(&app).await;
    let subscriber = app.user_with(Role::Subscriber).await;
    let full = admin.whole_log().await;
    assert_eq!(auditor.whole_log().await, full);
    let bare = subscriber.whole_log().await;
    assert_eq!(bare.len(), full.len());
    let mut hidden = 0;
    for (bare, full) in bare.iter().zip(&full) {
        let mut expected = full.clone();
        let data = expected["data"].as_object_mut().unwrap();
        hidden += data.len();
        data.retain(|name, _| !["email", "username", "reason"].contains(&name.as_str()));
        hidden -= data.len();
        // The login name of an operator is personal too.
        if full["actor"].as_str().unwrap().starts_with("operator:") {
            expected["actor"] = json!("operator");
        }
        assert_eq!(bare, &expected);
    }
    assert!(hidden > 10, "{hidden} values were personal");
    let text = serde_json::to_string(&bare).unwrap();
    assert!(
        !text.contains("example.com") && !text.contains("user3") && !text.contains("asked for"),
        "{text}"
    );
}

async fn no_event_exposes_a_password_hash(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, auditor) = users_with_history(&app).await;
    for user in [&admin, &auditor] {
        let log = serde_json::to_string(&user.whole_log().await).unwrap();
        assert!(!log.contains("argon2") && !log.contains("password"), "{log}");
    }
}

async fn limits_and_positions_are_validated(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    for good in ["limit=1", "after=0", "from=2026-11-22T08:03:14Z", "to=2026-11-22T08:03:14.680%2B01:00"] {
        admin.get(&format!("/events?{good}")).send().await.expect(200);
    }
    // A position beyond the head belongs to another log.
    let head = app.head().await;
    for query in [format!("after={}", head + 1), format!("after={}&wait=60", head + 1)] {
        let faults = admin.get(&format!("/events?{query}")).send().await.validation_errors();
        assert_eq!(
            (&faults[0]["type"], &faults[0]["ctx"]),
            (&json!("less_than_equal"), &json!({"le": head}))
        );
    }
    for bad in ["limit=0", "limit=-1", "limit=x", "after=-1", "after=x", "from=yesterday", "to=1"] {
        let answer = admin.get(&format!("/events?{bad}")).send().await;
        let (_, place) = answer.validation_error_kinds().remove(0);
        assert_eq!(place, json!(["query", bad.split('=').next().unwrap()]), "{bad}");
    }
}

async fn long_poll_returns_on_the_next_event(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let head = app.head().await;
    let waiting = async {
        let begun = Instant::now();
        let page = admin.get(&format!("/events?after={head}&wait=60")).send().await.expect(200).json();
        (page, begun.elapsed())
    };
    let happening = async {
        // A matching event, after one that does not match.
        app.sign_up("ada").await
    };
    let ((page, took), ada) = tokio::join!(waiting, happening);
    assert_eq!(page["events"][0]["subject"], ada.id);
    assert_eq!((&page["next"], page["events"].as_array().unwrap().len()), (&json!(head + 1), 1));
    assert!(took < Duration::from_secs(30), "it took {took:?}");
    // Existing events are returned without waiting.
    let begun = Instant::now();
    admin.get("/events?after=0&wait=60").send().await.expect(200);
    assert!(begun.elapsed() < Duration::from_secs(30));
    for (query, fault) in [("wait=61", "less_than_equal"), ("wait=x", "int_parsing")] {
        let faults = admin.get(&format!("/events?{query}")).send().await.validation_errors();
        assert_eq!(faults[0]["type"], fault, "{query}");
    }
}

async fn long_poll_timeout_returns_the_scanned_position(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let (page, _) = tokio::join!(
        async { admin.get("/events?types=WebhookDeleted&wait=1").send().await.expect(200).json() },
        app.sign_up("ada")
    );
    let head = app.head().await;
    assert_eq!(page, empty_page(&app, head));
    // The end of the period is in the past: nothing can match any more.
    let begun = Instant::now();
    let page = admin.get("/events?to=2020-01-01T00:00:00Z&wait=60").send().await.expect(200).json();
    assert_eq!(page["events"], json!([]));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

async fn long_poll_rechecks_authorization_before_answering(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, auditor) = (app.admin().await, app.user_with(Role::Auditor).await);
    let head = app.head().await;
    let (answer, _) = tokio::join!(auditor.get(&format!("/events?after={head}&wait=60")).send(), async {
        admin.deactivate(&auditor.id).send().await.expect(200)
    });
    // Whichever came first.
    assert_eq!(answer.code(403), "inactive_user");
}
