//! Logins in the audit trail: which become events, how failures are coalesced, who sees them, and that erasure
//! reaches them.

use aegis::config::{LoginEventSetting, Settings};
use domain::{Role, UserCommand, UserId};
use futures::future::join_all;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use store::{Append, EventQuery, ExpectedVersion, NewEvent, StreamId, StreamWrite};

use crate::support::{
    Deployment, PASSWORD, Response, Store, TestApp, contains_text, dump, email_of, eventually,
    on_both_stores, sign_up_request,
};

on_both_stores! {
    logins_are_listed_for_the_user_and_for_auditors
    failures_are_summed_up_with_the_next_success
    a_spell_ends_a_quarter_of_an_hour_after_its_last_failure
    refused_attempts_are_counted
    failures_add_one_event_per_account_and_spell_on_all_nodes
    a_restarted_node_does_not_begin_the_spell_again
    a_stopping_node_records_the_failures_it_has_counted
    right_password_of_a_deactivated_user_is_a_failure
    confirmations_are_no_logins
    successes_can_be_left_out
    login_events_can_be_turned_off
    subscribers_see_no_address
    erasure_reaches_logins
    concurrent_logins_and_erasure_leave_nothing_readable
    forged_logins_are_found
    command_line_lists_logins
}

const WRONG: &str = "not the password";
const START: &str = "2026-11-22T08:00:00Z";

fn recorded(settings: &mut Settings) {
    settings.login_events = LoginEventSetting::All;
    settings.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
}

/// A service that records logins, at a fixed time.
async fn started(store: Store, change: impl FnOnce(&mut Settings)) -> TestApp {
    let app = TestApp::start_with(store, |settings| {
        recorded(settings);
        change(settings);
    })
    .await;
    app.clock.set(start());
    app
}

fn start() -> Timestamp {
    START.parse().unwrap()
}

async fn log_in_from(app: &TestApp, address: &str, agent: &str, email: &str, password: &str) -> Response {
    let login = app.post("/auth/login/access-token").header("X-Forwarded-For", address);
    login.header("User-Agent", agent).form(&[("username", email), ("password", password)]).send().await
}

async fn fail(app: &TestApp, email: &str, times: usize) {
    for _ in 0..times {
        app.log_in(email, WRONG).await.expect(400);
    }
}

fn logins_stream(id: &str) -> StreamId {
    StreamId::new(UserId::parse(id).unwrap().logins_stream()).unwrap()
}

/// The recorded logins of a user: `failures` of successes, `count` of the ends of spells, null of their beginnings.
async fn recorded_logins(app: &TestApp, id: &str) -> Vec<(String, Value)> {
    let events = app.services().store.read_stream_sealed(&logins_stream(id)).await.unwrap();
    let shown = |event: store::Envelope| {
        let number = event.data.get("failures").or_else(|| event.data.get("count"));
        (event.event_type, number.cloned().unwrap_or_default())
    };
    events.into_iter().map(shown).collect()
}

fn succeeded(failures: u64) -> (String, Value) {
    ("LoginSucceeded".to_owned(), failures.into())
}

fn began() -> (String, Value) {
    ("LoginFailed".to_owned(), Value::Null)
}

fn ended(count: u64) -> (String, Value) {
    ("LoginFailed".to_owned(), count.into())
}

async fn wait_for_logins(app: &TestApp, id: &str, expected: &[(String, Value)]) {
    eventually("the logins", async || {
        let logins = recorded_logins(app, id).await;
        assert!(logins.len() <= expected.len(), "{logins:?} instead of {expected:?}");
        (logins == expected).then_some(())
    })
    .await;
}

async fn verify(app: &TestApp) -> Result<(), store::VerifyError> {
    let store = &app.services().store;
    store.verify(aegis::query::claim_change, &mut |_, _| {}).await?;
    aegis::authority::verify(store).await
}

async fn logins_are_listed_for_the_user_and_for_auditors(store: Store) {
    let app = started(store, |_| {}).await;
    let (ada, auditor) = (app.sign_up("ada").await, app.user_with(Role::Auditor).await);
    let version = auditor.look_up(&ada.id).await["version"].clone();
    log_in_from(&app, "198.51.100.7", "curl/8.5.0\t", &ada.email, PASSWORD).await.expect(200);
    log_in_from(&app, "2001:db8::7", &"a".repeat(1000), &ada.email, PASSWORD).await.expect(200);
    assert_eq!(auditor.look_up(&ada.id).await["version"], version, "the user's version does not move");

    let page = ada.get("/users/me/logins").send().await.expect(200).json();
    let logins = page["logins"].as_array().unwrap();
    assert_eq!((logins.len(), &page["next"]), (3, &Value::Null));
    assert_eq!(logins[0]["user_agent"], "a".repeat(256));
    assert_eq!(logins[0]["address"], "2001:db8::7");
    let mut second = logins[1].clone();
    let request_id = second.as_object_mut().unwrap().remove("request_id").unwrap();
    assert!(request_id.as_str().is_some_and(|id| !id.is_empty()));
    let position = second["position"].clone();
    assert_eq!(
        second,
        json!({
            "number": 2, "position": position, "at": "2026-11-22T08:00:00.000Z", "succeeded": true,
            "failures": 0, "address": "198.51.100.7", "user_agent": "curl/8.5.0",
        })
    );
    let path = format!("/users/{}/logins", ada.id);
    let first = auditor.get(&format!("{path}?limit=2")).send().await.expect(200).json();
    assert_eq!((&first["logins"][0], &first["next"]), (&logins[0], &json!(2)));
    let rest = auditor.get(&format!("{path}?limit=2&before=2")).send().await.expect(200).json();
    assert_eq!(rest, json!({"logins": [logins[2]]}));
    for wrong in ["limit=0", "limit=1001", "before=0", "before=x", "after=1"] {
        auditor.get(&format!("{path}?{wrong}")).send().await.expect(422);
    }
    ada.get(&path).send().await.expect(403);
    auditor.get("/users/00000000-0000-7000-8000-000000000000/logins").send().await.expect(404);

    let history = auditor.get(&format!("/users/{}/events", ada.id)).send().await.expect(200).json();
    assert_eq!(history["events"].as_array().unwrap().len(), 1, "{history}");
    let event = auditor.get(&format!("/events?stream=logins-{}", ada.id)).send().await.expect(200).json();
    let event = &event["events"][1];
    assert_eq!((&event["subject"], &event["actor"]), (&json!(ada.id), &json!(format!("user-{}", ada.id))));
    assert_eq!(event["data"]["address"], "198.51.100.7");
    let export = ada.get("/users/me/export").send().await.expect(200).json();
    let oldest_first: Vec<_> = logins.iter().rev().cloned().collect();
    assert_eq!((&export["logins"], &export["acts"]), (&json!(oldest_first), &json!([])));
    verify(&app).await.unwrap();
}

async fn failures_are_summed_up_with_the_next_success(store: Store) {
    let app = started(store, |_| {}).await;
    let ada = app.sign_up("ada").await;
    fail(&app, &ada.email, 5).await;
    app.token_of(&ada.email).await;
    app.token_of(&ada.email).await;
    let expected = [succeeded(0), began(), succeeded(5), succeeded(0)];
    assert_eq!(recorded_logins(&app, &ada.id).await, expected);
    fail(&app, &ada.email, 1).await;
    app.token_of(&ada.email).await;
    let expected = [&expected[..], &[began(), succeeded(1)]].concat();
    assert_eq!(recorded_logins(&app, &ada.id).await, expected);
}

async fn a_spell_ends_a_quarter_of_an_hour_after_its_last_failure(store: Store) {
    let app = started(store, |_| {}).await;
    let ada = app.sign_up("ada").await;
    fail(&app, &ada.email, 2).await;
    wait_for_logins(&app, &ada.id, &[succeeded(0), began()]).await;
    app.clock.set(start() + 14.minutes());
    fail(&app, &ada.email, 1).await;
    app.clock.set(start() + 28.minutes());
    // A failed login of another user, which is recorded later, shows that nothing was due.
    let bob = app.sign_up("bob").await;
    fail(&app, &bob.email, 1).await;
    wait_for_logins(&app, &bob.id, &[succeeded(0), began()]).await;
    assert_eq!(recorded_logins(&app, &ada.id).await, [succeeded(0), began()]);
    app.clock.set(start() + 29.minutes());
    wait_for_logins(&app, &ada.id, &[succeeded(0), began(), ended(3)]).await;
    fail(&app, &ada.email, 1).await;
    wait_for_logins(&app, &ada.id, &[succeeded(0), began(), ended(3), began()]).await;
    app.clock.set(start() + 60.minutes());
    app.token_of(&ada.email).await;
    let logins = recorded_logins(&app, &ada.id).await;
    assert!(logins.len() == 5 && logins[4].0 == "LoginSucceeded", "one failure needs no end: {logins:?}");
    verify(&app).await.unwrap();
}

async fn refused_attempts_are_counted(store: Store) {
    let app = started(store, |_| {}).await;
    let ada = app.sign_up("ada").await;
    fail(&app, &ada.email, 10).await;
    for _ in 0..4 {
        app.log_in(&ada.email, PASSWORD).await.expect(429);
    }
    app.clock.set(start() + 1.minute());
    app.token_of(&ada.email).await;
    assert_eq!(recorded_logins(&app, &ada.id).await, [succeeded(0), began(), succeeded(14)]);
}

async fn failures_add_one_event_per_account_and_spell_on_all_nodes(store: Store) {
    let app = started(store, |settings| settings.rate_limits = false).await;
    let ada = app.sign_up("ada").await;
    let nodes = [app.start_second_node().await, app.start_second_node().await];
    for _ in 0..2 {
        let attempts = nodes.iter().chain([&app]).flat_map(|node| (0..20).map(move |_| node));
        join_all(attempts.map(async |node| node.log_in(&ada.email, WRONG).await.expect(400))).await;
    }
    // No user has these.
    for node in &nodes {
        fail(node, "unknown@example.com", 3).await;
        fail(node, "no address", 3).await;
    }
    wait_for_logins(&app, &ada.id, &[succeeded(0), began()]).await;
    // Every node says what it saw, one in a quarter of an hour.
    let mut expected = vec![succeeded(0), began()];
    for quarter in 1..=3 {
        app.clock.set(start() + (15 * quarter).minutes());
        expected.push(ended(40));
        wait_for_logins(&app, &ada.id, &expected).await;
    }
    assert_eq!(app.head().await, 6);
    verify(&app).await.unwrap();
}

async fn a_restarted_node_does_not_begin_the_spell_again(store: Store) {
    let app = started(store, |_| {}).await;
    let ada = app.sign_up("ada").await;
    fail(&app, &ada.email, 1).await;
    wait_for_logins(&app, &ada.id, &[succeeded(0), began()]).await;
    for _ in 0..3 {
        let node = app.start_second_node().await;
        fail(&node, &ada.email, 1).await;
        node.stopped().await;
    }
    assert_eq!(recorded_logins(&app, &ada.id).await, [succeeded(0), began()]);
}

async fn a_stopping_node_records_the_failures_it_has_counted(store: Store) {
    let app = started(store, |_| {}).await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let node = app.start_second_node().await;
    fail(&node, &ada.email, 3).await;
    fail(&node, &bob.email, 1).await;
    wait_for_logins(&app, &ada.id, &[succeeded(0), began()]).await;
    wait_for_logins(&app, &bob.id, &[succeeded(0), began()]).await;
    node.stopped().await;
    assert_eq!(recorded_logins(&app, &ada.id).await, [succeeded(0), began(), ended(3)]);
    assert_eq!(recorded_logins(&app, &bob.id).await, [succeeded(0), began()]);
}

async fn right_password_of_a_deactivated_user_is_a_failure(store: Store) {
    let app = started(store, |_| {}).await;
    let ada = app.sign_up("ada").await;
    app.command(&ada.id, UserCommand::Deactivate { reason: None }).await;
    assert_eq!(app.log_in(&ada.email, PASSWORD).await.code(400), "inactive_user");
    wait_for_logins(&app, &ada.id, &[succeeded(0), began()]).await;
    let admin = app.admin().await;
    let logins = admin.get(&format!("/users/{}/logins", ada.id)).send().await.expect(200).json();
    assert_eq!(logins["logins"][0]["reason"], "inactive_user");
    assert_eq!(logins["logins"][0]["succeeded"], false);
}

async fn confirmations_are_no_logins(store: Store) {
    let app = started(store, |_| {}).await;
    let ada = app.sign_up("ada").await;
    for password in [WRONG, PASSWORD] {
        ada.post("/users/me/deactivate").json(&json!({"password": password})).send().await;
    }
    app.log_in(&ada.email, PASSWORD).await.expect(400);
    wait_for_logins(&app, &ada.id, &[succeeded(0), began()]).await;
}

async fn successes_can_be_left_out(store: Store) {
    let app = started(store, |settings| settings.login_events = LoginEventSetting::Failures).await;
    let ada = app.sign_up("ada").await;
    app.token_of(&ada.email).await;
    fail(&app, &ada.email, 1).await;
    wait_for_logins(&app, &ada.id, &[began()]).await;
    fail(&app, &ada.email, 2).await;
    app.token_of(&ada.email).await;
    wait_for_logins(&app, &ada.id, &[began(), ended(3)]).await;
}

async fn login_events_can_be_turned_off(store: Store) {
    let app = started(store, |settings| settings.login_events = LoginEventSetting::Off).await;
    let ada = app.sign_up("ada").await;
    fail(&app, &ada.email, 3).await;
    app.token_of(&ada.email).await;
    assert_eq!(app.head().await, 1);
    let page = ada.get("/users/me/logins").send().await.expect(200).json();
    assert_eq!(page, json!({"logins": []}));
}

async fn subscribers_see_no_address(store: Store) {
    let app = started(store, |_| {}).await;
    let (ada, subscriber) = (app.sign_up("ada").await, app.user_with(Role::Subscriber).await);
    log_in_from(&app, "198.51.100.7", "zyxagentmarker", &ada.email, PASSWORD).await.expect(200);
    let events = subscriber.paged("/events?types=LoginSucceeded", 100).await;
    let newest = events.last().unwrap();
    assert_eq!(newest["subject"], json!(ada.id));
    assert_eq!(newest["data"], json!({"failures": 0, "has_address": true, "has_user_agent": true}));
}

const MARKERS: [&str; 2] = ["zyxagentmarker", "2001:db8:7:7:7:7:7:7"];

async fn erasure_reaches_logins(store: Store) {
    let app = started(store.clone(), |_| {}).await;
    let (ada, admin) = (app.sign_up("ada").await, app.admin().await);
    let [agent, address] = MARKERS;
    log_in_from(&app, address, agent, &ada.email, PASSWORD).await.expect(200);
    log_in_from(&app, address, agent, &ada.email, WRONG).await.expect(400);
    wait_for_logins(&app, &ada.id, &[succeeded(0), succeeded(0), began()]).await;
    let path = format!("/users/{}/logins", ada.id);
    let before = admin.get(&path).send().await.expect(200).json();
    assert_eq!(before["logins"][0]["user_agent"], agent);
    for (name, bytes) in dump(&store).await {
        assert!(MARKERS.iter().all(|marker| !contains_text(&bytes, marker)), "in {name}");
    }
    let reason = json!({"reason": "request"});
    admin.post(&format!("/users/{}/erase", ada.id)).json(&reason).send().await.expect(204);
    let after = admin.get(&path).send().await.expect(200).json();
    let logins = after["logins"].as_array().unwrap();
    assert_eq!(logins.len(), 3);
    for login in logins {
        assert_eq!((&login["address"], &login["user_agent"]), (&Value::Null, &Value::Null));
    }
    for event in admin.paged(&format!("/events?stream=logins-{}", ada.id), 100).await {
        assert_eq!((&event["data"]["erased"], &event["data"]["address"]), (&json!(true), &Value::Null));
    }
    let log = &app.services().store;
    let lines = log.read(&EventQuery { limit: 1000, ..EventQuery::default() }).await.unwrap();
    for event in &lines {
        let line = aegis::export::format::ExportFormat::Jsonl.line(event).unwrap();
        assert!(MARKERS.iter().all(|marker| !line.contains(marker)), "{line}");
    }
    let mut feed = admin.get("/events/stream?after=0").open().await;
    for _ in 0..lines.len() {
        let (_, _, event) = feed.event().await.unwrap();
        assert!(MARKERS.iter().all(|marker| !event.to_string().contains(marker)), "{event}");
    }
    // The e-mail address belongs to no user any more.
    let head = app.head().await;
    fail(&app, &ada.email, 2).await;
    assert_eq!(app.head().await, head);
    app.log_in(&ada.email, PASSWORD).await.expect(400);
    verify(&app).await.unwrap();
}

async fn concurrent_logins_and_erasure_leave_nothing_readable(store: Store) {
    let app = started(store, |settings| settings.rate_limits = false).await;
    let (ada, admin) = (app.sign_up("ada").await, app.admin().await);
    let logins = (0..10).map(|_| app.log_in(&ada.email, PASSWORD));
    let failures = (0..10).map(|_| app.log_in(&ada.email, WRONG));
    let path = format!("/users/{}/erase", ada.id);
    let erase = admin.post(&path).json(&json!({"reason": "request"})).send();
    let (logins, _, erased) = tokio::join!(join_all(logins), join_all(failures), erase);
    let erased = erased.expect(204).position();
    for login in logins {
        assert!([200, 400].contains(&login.status()), "{}", login.text());
    }
    let events = app.services().store.read_stream_sealed(&logins_stream(&ada.id)).await.unwrap();
    assert!(events.iter().all(|event| event.position.get() < erased), "{events:?}");
    verify(&app).await.unwrap();
}

async fn forged_logins_are_found(store: Store) {
    let app = started(store, |_| {}).await;
    let (ada, eve) = (app.sign_up("ada").await, app.user_with(Role::Admin).await);
    verify(&app).await.unwrap();
    let log = &app.services().store;
    let forged = |actor: String, event_type: &str| {
        let data = json!({"failures": 0, "reason": "wrong_password"}).as_object().unwrap().clone();
        let event = NewEvent {
            id: store::Env::system().uuid(),
            event_type: event_type.to_owned(),
            schema: 1,
            data,
            personal: serde_json::Map::new(),
        };
        let write = StreamWrite::new(logins_stream(&ada.id), ExpectedVersion::Any, vec![event]);
        Append::new(actor, "r", vec![write])
    };
    for (actor, event_type) in
        [(format!("user-{}", ada.id), "LoginSucceeded"), ("system".to_owned(), "LoginFailed")]
    {
        log.append(&forged(actor, event_type)).await.unwrap();
        verify(&app).await.unwrap();
    }
    let appended = log.append(&forged(format!("user-{}", eve.id), "LoginSucceeded")).await.unwrap();
    let Err(store::VerifyError::Found(finding)) = verify(&app).await else { panic!("not found") };
    assert_eq!((finding.kind.code(), finding.position), ("actor_unauthorized", appended.position));
}

async fn command_line_lists_logins(store: Store) {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    let client = service.client();
    sign_up_request(client, "ada").send().await.expect(201);
    let email = email_of("ada");
    let none = deployment.run_ok(&["users", "logins", &email]).await;
    assert!(none.stdout.contains("no logins"), "{none:?}");
    client.log_in(&email, PASSWORD).await.expect(200);
    for _ in 0..2 {
        client.log_in(&email, WRONG).await.expect(400);
    }
    client.log_in(&email, PASSWORD).await.expect(200);
    let listed = deployment.run_ok(&["users", "logins", &email]).await;
    assert!(listed.stdout.contains("succeeded after 2 failures"), "{listed:?}");
    assert!(listed.stdout.contains("127.0.0.1"), "{listed:?}");
    let json = deployment.run_ok(&["users", "logins", &email, "--json", "--limit", "1"]).await;
    let newest: Value = serde_json::from_str(json.stdout.trim()).unwrap();
    assert_eq!((&newest["number"], &newest["failures"]), (&json!(3), &json!(2)));
    let unknown = deployment.run(&["users", "logins", "unknown@example.com"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
}
