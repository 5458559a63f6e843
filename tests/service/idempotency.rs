//! `Idempotency-Key`: a repeated write executes once and gets the recorded response.

use domain::Role;
use futures::future::join_all;
use serde_json::json;
use store::{Append, Env, ExpectedVersion, NewEvent, StreamId, StreamWrite};

use crate::support::{
    Client, PASSWORD, Request, Response, Store, TestApp, credentials, email_of, on_both_stores, on_one_store,
    sign_up_request,
};

on_both_stores! {
    repeated_sign_up_gets_the_replayed_response
    replayed_response_is_unaffected_by_later_changes
    repeated_command_appends_no_event
    reusing_a_key_for_another_request_is_rejected
    passwords_are_no_part_of_the_request
    idempotency_keys_are_scoped_to_caller_and_endpoint
    rejected_and_no_op_requests_are_executed_again
    concurrent_requests_with_one_key_execute_once
    replay_after_erasure_is_answered_410
    invalid_idempotency_keys_are_rejected
}

on_one_store! {
    two_nodes:
    request_repeated_on_another_node_executes_once
    concurrent_requests_with_one_key_on_two_nodes_execute_once
}

const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

fn keyed(request: Request) -> Request {
    request.header("Idempotency-Key", KEY)
}

/// The parts that distinguish responses.
fn status_body_and_headers(answer: &Response) -> (u16, String, [String; 3]) {
    let headers = ["Location", "Aegis-Position", "ETag"].map(|name| answer.header(name).to_owned());
    (answer.status(), answer.text(), headers)
}

async fn repeated_sign_up_gets_the_replayed_response(store: Store) {
    let app = TestApp::start(store).await;
    let first = keyed(sign_up_request(&app, "ada")).send().await.expect(201);
    for _ in 0..3 {
        let again = keyed(sign_up_request(&app, "ada")).send().await;
        assert_eq!(status_body_and_headers(&again), status_body_and_headers(&first));
    }
    assert_eq!(app.head().await, 1);
    // Without the key it is a new request.
    assert_eq!(sign_up_request(&app, "ada").send().await.code(400), "email_taken");
}

async fn replayed_response_is_unaffected_by_later_changes(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let first = keyed(sign_up_request(&app, "ada")).send().await.expect(201);
    let id = first.json()["id"].as_str().unwrap().to_owned();
    admin.deactivate(&id).send().await.expect(200);
    let again = keyed(sign_up_request(&app, "ada")).send().await;
    assert_eq!(status_body_and_headers(&again), status_body_and_headers(&first));
    assert_eq!(again.json()["is_active"], true, "as it was then");
    assert_eq!(admin.look_up(&id).await["is_active"], false, "and as it is");
}

async fn repeated_command_appends_no_event(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let role = format!("/users/{}/roles/auditor", user.id);
    let requests: [&dyn Fn() -> Request; 4] =
        [&|| admin.put(&role), &|| admin.delete(&role), &|| admin.deactivate(&user.id), &|| {
            admin.reactivate(&user.id)
        }];
    let mut expected = app.head().await;
    let mut firsts = Vec::new();
    for request in requests {
        let first = keyed(request()).send().await;
        assert!([200, 204].contains(&first.status()), "{}", first.text());
        expected += 1;
        assert_eq!(first.position(), expected);
        firsts.push((request, status_body_and_headers(&first)));
    }
    // Each would append an event if executed again.
    for (request, first) in firsts {
        assert_eq!(status_body_and_headers(&keyed(request()).send().await), first);
    }
    assert_eq!(app.head().await, expected);
}

async fn reusing_a_key_for_another_request_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    keyed(sign_up_request(&app, "ada")).send().await.expect(201);
    let other = keyed(sign_up_request(&app, "bob")).send().await;
    assert_eq!(other.code(422), "idempotency_key_reused");
    // A different precondition makes a different request.
    let id = app.sign_up("eve").await.id;
    keyed(admin.deactivate(&id)).header("If-Match", "\"1\"").send().await.expect(200);
    let other = keyed(admin.deactivate(&id)).header("If-Match", "\"2\"").send().await;
    assert_eq!(other.code(422), "idempotency_key_reused");
    keyed(admin.deactivate(&id)).header("If-Match", "\"1\"").send().await.expect(200);
}

async fn passwords_are_no_part_of_the_request(store: Store) {
    let app = TestApp::start(store).await;
    let first = keyed(sign_up_request(&app, "ada")).send().await.expect(201);
    let mut body = credentials("ada");
    body["password"] = "another password".into();
    let again = keyed(app.post("/auth/signup").json(&body)).send().await;
    assert_eq!(status_body_and_headers(&again), status_body_and_headers(&first), "for any guess");
    app.log_in(&email_of("ada"), "another password").await.expect(400);
    app.log_in(&email_of("ada"), PASSWORD).await.expect(200);
}

async fn idempotency_keys_are_scoped_to_caller_and_endpoint(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, other, user) = (app.admin().await, app.sign_up("other").await, app.sign_up("ada").await);
    app.grant(&other, Role::Admin).await;
    let before = app.head().await;
    let first = keyed(admin.deactivate(&user.id)).send().await.expect(200);
    assert_eq!(first.position(), before + 1);
    // Neither another endpoint with the same body nor another caller at the same endpoint is a repetition.
    let reactivated = keyed(admin.reactivate(&user.id)).send().await.expect(200);
    assert_eq!(reactivated.position(), before + 2);
    let second = keyed(other.deactivate(&user.id)).send().await.expect(200);
    assert_eq!(second.position(), before + 3);
}

async fn rejected_and_no_op_requests_are_executed_again(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    assert_eq!(keyed(sign_up_request(&app, "ada")).send().await.code(400), "email_taken");
    assert_eq!(keyed(sign_up_request(&app, "ada")).send().await.code(400), "email_taken");
    // Already active: nothing is executed and nothing recorded.
    let before = app.head().await;
    let idle = keyed(admin.reactivate(&user.id)).send().await.expect(200);
    assert_eq!((idle.header("Aegis-Position"), app.head().await), ("", before));
    admin.deactivate(&user.id).send().await.expect(200);
    let done = keyed(admin.reactivate(&user.id)).send().await.expect(200);
    assert_eq!(done.position(), before + 2);
}

/// The other requests get the recorded response or `still_running`.
async fn assert_executes_once(app: &TestApp, nodes: &[&Client]) {
    let answers =
        join_all((0..30).map(|n| keyed(sign_up_request(nodes[n % nodes.len()], "ada")).send())).await;
    let (done, waiting): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 201);
    assert!(!done.is_empty());
    for answer in &done {
        assert_eq!(status_body_and_headers(answer), status_body_and_headers(done[0]));
    }
    for answer in waiting {
        assert_eq!(answer.code(409), "still_running");
    }
    assert_eq!(app.head().await, 1);
    assert_eq!(
        status_body_and_headers(&keyed(sign_up_request(nodes[0], "ada")).send().await),
        status_body_and_headers(done[0])
    );
}

async fn concurrent_requests_with_one_key_execute_once(store: Store) {
    let app = TestApp::start(store).await;
    assert_executes_once(&app, &[&app]).await;
}

async fn concurrent_requests_with_one_key_on_two_nodes_execute_once() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.start_second_node().await;
    assert_executes_once(&app, &[&app, &other]).await;
}

async fn request_repeated_on_another_node_executes_once() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.start_second_node().await;
    let first = keyed(sign_up_request(&app, "ada")).send().await.expect(201);
    assert_eq!(
        status_body_and_headers(&keyed(sign_up_request(&other, "ada")).send().await),
        status_body_and_headers(&first)
    );
    assert_eq!(app.head().await, 1);
}

async fn replay_after_erasure_is_answered_410(store: Store) {
    let app = TestApp::start(store).await;
    let first = keyed(sign_up_request(&app, "ada")).send().await.expect(201).json();
    let stream = StreamId::new(format!("user-{}", first["id"].as_str().unwrap())).unwrap();
    let encoded = domain::UserEvent::UserDeactivated { reason: None }.encode();
    let last = NewEvent {
        id: Env::system().uuid(),
        event_type: encoded.event_type.to_owned(),
        schema: encoded.schema,
        data: encoded.data,
        personal: encoded.personal,
    };
    let erase =
        StreamWrite { erase: true, ..StreamWrite::new(stream, ExpectedVersion::Exactly(1), vec![last]) };
    app.services().store.append(&Append::new("system", "test", vec![erase])).await.unwrap();
    assert_eq!(keyed(sign_up_request(&app, "ada")).send().await.code(410), "erased");
}

async fn invalid_idempotency_keys_are_rejected(store: Store) {
    let app = TestApp::start(store).await;
    for bad in ["", "with space", &"x".repeat(256)] {
        let answer = sign_up_request(&app, "ada").header("Idempotency-Key", bad).send().await;
        assert_eq!(
            answer.validation_error_kinds(),
            [("string_pattern_mismatch".to_owned(), json!(["header", "idempotency-key"]))],
            "{bad}"
        );
    }
    let two = keyed(keyed(sign_up_request(&app, "ada"))).send().await;
    assert_eq!(two.validation_errors()[0]["loc"], json!(["header", "idempotency-key"]));
    // Authentication precedes the validation of keys.
    let unauthenticated =
        app.post("/users/x/deactivate").header("Idempotency-Key", "with space").send().await;
    assert_eq!(unauthenticated.code(401), "not_authenticated");
    assert_eq!(app.head().await, 0);
}
