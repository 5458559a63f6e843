//! `Idempotency-Key`: a write that is sent again is done once, and answered as the first time.

use domain::Role;
use futures::future::join_all;
use serde_json::json;
use store::{Ambient, Append, Expected, NewEvent, StreamId, StreamWrite};

use crate::support::{Answer, Client, Request, Store, TestApp, credentials, on_both_stores, on_one_store};

on_both_stores! {
    a_repeated_sign_up_is_answered_as_the_first_time
    the_first_result_is_told_whatever_has_changed_since
    a_repeated_command_adds_no_event
    a_key_is_good_for_one_request
    keys_belong_to_callers_and_endpoints
    what_was_refused_or_changed_nothing_is_judged_again
    of_many_at_once_one_is_done
    what_was_erased_is_gone
    keys_that_are_none_are_refused
}

on_one_store! {
    two_nodes:
    a_request_repeated_on_another_node_is_done_once
    of_many_at_once_on_two_nodes_one_is_done
}

const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

fn sign_up(client: &Client, name: &str) -> Request {
    client.post("/auth/signup").json(&credentials(name))
}

fn keyed(request: Request) -> Request {
    request.header("Idempotency-Key", KEY)
}

async fn head(app: &TestApp) -> u64 {
    app.node().store.head().await.unwrap().position.get()
}

/// All that tells one success from another.
fn essence(answer: &Answer) -> (u16, String, [String; 3]) {
    let headers = ["Location", "Aegis-Position", "ETag"].map(|name| answer.header(name).to_owned());
    (answer.status(), answer.text(), headers)
}

async fn a_repeated_sign_up_is_answered_as_the_first_time(store: Store) {
    let app = TestApp::start(store).await;
    let first = keyed(sign_up(&app, "ada")).send().await.expect(201);
    for _ in 0..3 {
        let again = keyed(sign_up(&app, "ada")).send().await;
        assert_eq!(essence(&again), essence(&first));
    }
    assert_eq!(head(&app).await, 1);
    // Without the key it is a sign-up like any other.
    assert_eq!(sign_up(&app, "ada").send().await.code(400), "email_taken");
}

async fn the_first_result_is_told_whatever_has_changed_since(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let first = keyed(sign_up(&app, "ada")).send().await.expect(201);
    let id = first.json()["id"].as_str().unwrap().to_owned();
    admin.deactivate(&id).send().await.expect(200);
    let again = keyed(sign_up(&app, "ada")).send().await;
    assert_eq!(essence(&again), essence(&first));
    assert_eq!(again.json()["is_active"], true, "as it was then");
    assert_eq!(admin.look_up(&id).await["is_active"], false, "and as it is");
}

async fn a_repeated_command_adds_no_event(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let role = format!("/users/{}/roles/auditor", user.id);
    let requests: [&dyn Fn() -> Request; 4] =
        [&|| admin.put(&role), &|| admin.delete(&role), &|| admin.deactivate(&user.id), &|| {
            admin.reactivate(&user.id)
        }];
    let mut expected = head(&app).await;
    let mut firsts = Vec::new();
    for request in requests {
        let first = keyed(request()).send().await;
        assert!([200, 204].contains(&first.status()), "{}", first.text());
        expected += 1;
        assert_eq!(first.position(), expected);
        firsts.push((request, essence(&first)));
    }
    // Each would change something if it were done anew.
    for (request, first) in firsts {
        assert_eq!(essence(&keyed(request()).send().await), first);
    }
    assert_eq!(head(&app).await, expected);
}

async fn a_key_is_good_for_one_request(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    keyed(sign_up(&app, "ada")).send().await.expect(201);
    let other = keyed(sign_up(&app, "bob")).send().await;
    assert_eq!(other.code(422), "idempotency_key_reused");
    // The same request under another condition is another request.
    let id = app.sign_up("eve").await.id;
    keyed(admin.deactivate(&id)).header("If-Match", "\"1\"").send().await.expect(200);
    let other = keyed(admin.deactivate(&id)).header("If-Match", "\"2\"").send().await;
    assert_eq!(other.code(422), "idempotency_key_reused");
    keyed(admin.deactivate(&id)).header("If-Match", "\"1\"").send().await.expect(200);
}

async fn keys_belong_to_callers_and_endpoints(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, other, user) = (app.admin().await, app.sign_up("other").await, app.sign_up("ada").await);
    app.grant(&other, Role::Admin).await;
    let before = head(&app).await;
    let first = keyed(admin.deactivate(&user.id)).send().await.expect(200);
    assert_eq!(first.position(), before + 1);
    // Another endpoint with the same body, another caller at the same endpoint: neither is a repetition.
    let reactivated = keyed(admin.reactivate(&user.id)).send().await.expect(200);
    assert_eq!(reactivated.position(), before + 2);
    let second = keyed(other.deactivate(&user.id)).send().await.expect(200);
    assert_eq!(second.position(), before + 3);
}

async fn what_was_refused_or_changed_nothing_is_judged_again(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    assert_eq!(keyed(sign_up(&app, "ada")).send().await.code(400), "email_taken");
    assert_eq!(keyed(sign_up(&app, "ada")).send().await.code(400), "email_taken");
    // Active already: nothing happens, and nothing is kept.
    let before = head(&app).await;
    let idle = keyed(admin.reactivate(&user.id)).send().await.expect(200);
    assert_eq!((idle.header("Aegis-Position"), head(&app).await), ("", before));
    admin.deactivate(&user.id).send().await.expect(200);
    let done = keyed(admin.reactivate(&user.id)).send().await.expect(200);
    assert_eq!(done.position(), before + 2);
}

/// Those that are not told the result are told that it is on its way.
async fn assert_one_is_done(app: &TestApp, nodes: &[&Client]) {
    let answers = join_all((0..30).map(|n| keyed(sign_up(nodes[n % nodes.len()], "ada")).send())).await;
    let (done, waiting): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 201);
    assert!(!done.is_empty());
    for answer in &done {
        assert_eq!(essence(answer), essence(done[0]));
    }
    for answer in waiting {
        assert_eq!(answer.code(409), "still_running");
    }
    assert_eq!(head(app).await, 1);
    assert_eq!(essence(&keyed(sign_up(nodes[0], "ada")).send().await), essence(done[0]));
}

async fn of_many_at_once_one_is_done(store: Store) {
    let app = TestApp::start(store).await;
    assert_one_is_done(&app, &[&app]).await;
}

async fn of_many_at_once_on_two_nodes_one_is_done() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.second_node().await;
    assert_one_is_done(&app, &[&app, &other]).await;
}

async fn a_request_repeated_on_another_node_is_done_once() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.second_node().await;
    let first = keyed(sign_up(&app, "ada")).send().await.expect(201);
    assert_eq!(essence(&keyed(sign_up(&other, "ada")).send().await), essence(&first));
    assert_eq!(head(&app).await, 1);
}

async fn what_was_erased_is_gone(store: Store) {
    let app = TestApp::start(store).await;
    let first = keyed(sign_up(&app, "ada")).send().await.expect(201).json();
    let stream = StreamId::new(format!("user-{}", first["id"].as_str().unwrap())).unwrap();
    let encoded = domain::UserEvent::UserDeactivated { reason: None }.encode();
    let last = NewEvent {
        id: Ambient::system().uuid(),
        event_type: encoded.event_type.to_owned(),
        schema: encoded.schema,
        data: encoded.data,
        personal: encoded.personal,
    };
    let erase = StreamWrite { erase: true, ..StreamWrite::new(stream, Expected::Exactly(1), vec![last]) };
    app.node().store.append(&Append::new("system", "test", vec![erase])).await.unwrap();
    assert_eq!(keyed(sign_up(&app, "ada")).send().await.code(410), "erased");
}

async fn keys_that_are_none_are_refused(store: Store) {
    let app = TestApp::start(store).await;
    for bad in ["", "with space", &"x".repeat(256)] {
        let answer = sign_up(&app, "ada").header("Idempotency-Key", bad).send().await;
        assert_eq!(
            answer.fault_list(),
            [("string_pattern_mismatch".to_owned(), json!(["header", "idempotency-key"]))],
            "{bad}"
        );
    }
    let two = keyed(keyed(sign_up(&app, "ada"))).send().await;
    assert_eq!(two.faults()[0]["loc"], json!(["header", "idempotency-key"]));
    // Who may not do it at all learns nothing about keys.
    let nobody = app.post("/users/x/deactivate").header("Idempotency-Key", "with space").send().await;
    assert_eq!(nobody.code(401), "not_authenticated");
    assert_eq!(head(&app).await, 0);
}
