//! Erasure: `DELETE /users/me`, `POST /users/{id}/erase`, `aegis users erase`. Personal data is deleted
//! everywhere at once; the fact and the time of the erasure remain in the log.

use domain::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Deployment, PASSWORD, Response, Store, TestApp, User, captured_logs, contains_text, credentials, dump,
    email_of, eventually, on_both_stores, raw_bytes_without,
};

on_both_stores! {
    self_erasure_frees_email_and_username
    self_erasure_requires_the_right_password
    admin_erasure_records_its_reason
    last_administrator_cannot_be_erased
    feed_shows_the_erasure_without_personal_data
    erased_user_leaves_no_trace_in_any_table_or_version
    cli_erasure_keeps_the_log_verifiable
}

async fn erase_me(user: &User, body: &Value) -> Response {
    user.delete("/users/me").json(body).send().await
}

async fn erase(admin: &User, id: &str, reason: &str) -> Response {
    admin.post(&format!("/users/{id}/erase")).json(&json!({"reason": reason})).send().await
}

async fn self_erasure_frees_email_and_username(store: Store) {
    let app = TestApp::start(store).await;
    let (user, admin) = (app.sign_up("ada").await, app.admin().await);
    let second = app.token_of(&user.email).await;
    let answer = erase_me(&user, &json!({"password": PASSWORD})).await.expect(204);
    assert_eq!(answer.text(), "");
    for token in [&user.token, &second] {
        assert_eq!(app.me(token).await.code(404), "not_found");
    }
    assert_eq!(app.log_in(&user.email, PASSWORD).await.code(400), "invalid_credentials");
    admin.get(&format!("/users/{}", user.id)).send().await.expect(404);
    erase_me(&user, &json!({"password": PASSWORD})).await.expect(404);
    let log = admin.whole_log().await;
    let [.., deactivated, erased] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!((&deactivated["type"], &erased["type"]), (&json!("UserDeactivated"), &json!("UserErased")));
    assert_eq!(erased["position"], json!(answer.position()));
    assert_eq!(erased["actor"], json!(format!("user-{}", user.id)));

    // E-mail address and username are free again, and belong to a new user.
    let heir = app.sign_up("ada").await;
    assert_ne!(heir.id, user.id);
    heir.get("/users/me").send().await.expect(200);
    app.me(&user.token).await.expect(404);
}

async fn self_erasure_requires_the_right_password(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    assert_eq!(erase_me(&user, &json!({"password": "wrong"})).await.code(400), "wrong_password");
    let faults = erase_me(&user, &json!({})).await.validation_error_kinds();
    assert_eq!(faults, [("missing".to_owned(), json!(["body", "password"]))]);
    app.request(Method::DELETE, "/users/me").json(&json!({"password": PASSWORD})).send().await.expect(401);
    user.get("/users/me").send().await.expect(200);
}

async fn admin_erasure_records_its_reason(store: Store) {
    let app = TestApp::start(store).await;
    let (user, admin) = (app.sign_up("ada").await, app.admin().await);
    let place = json!(["body", "reason"]);
    for (body, fault) in [
        (json!({}), "missing"),
        (json!({"reason": "asked in words"}), "enum"),
        (json!({"reason": 1}), "string_type"),
    ] {
        let answer = admin.post(&format!("/users/{}/erase", user.id)).json(&body).send().await;
        assert_eq!(answer.validation_error_kinds(), [(fault.to_owned(), place.clone())], "{body}");
    }
    erase(&user, &user.id, "request").await.expect(403);
    let path = format!("/users/{}/erase", user.id);
    let late = admin.post(&path).header("If-Match", "\"7\"").json(&json!({"reason": "policy"})).send().await;
    assert_eq!(late.code(412), "version_mismatch");
    let send = || admin.post(&path).header("Idempotency-Key", "k").json(&json!({"reason": "policy"})).send();
    let done = send().await.expect(204);
    let log = admin.whole_log().await;
    assert_eq!(log.last().unwrap()["data"], json!({"reason": "policy"}));
    assert_eq!(log.last().unwrap()["position"], json!(done.position()));
    send().await.expect(204);
    assert_eq!(erase(&admin, &user.id, "policy").await.code(404), "not_found");
    admin.deactivate(&user.id).send().await.expect(404);
    assert_eq!(admin.whole_log().await.len(), log.len(), "it was done once");
}

async fn last_administrator_cannot_be_erased(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    assert_eq!(erase_me(&admin, &json!({"password": PASSWORD})).await.code(409), "last_admin");
    assert_eq!(erase(&admin, &admin.id, "request").await.code(409), "last_admin");
    let other = app.sign_up("ada").await;
    app.grant(&other, Role::Admin).await;
    erase_me(&admin, &json!({"password": PASSWORD})).await.expect(204);
    let other = app.token_of(&other.email).await;
    app.me(&other).await.expect(200);
}

async fn feed_shows_the_erasure_without_personal_data(store: Store) {
    let app = TestApp::start(store).await;
    let (user, admin) = (app.sign_up("ada").await, app.admin().await);
    admin.deactivate(&user.id).send().await.expect(200);
    let before = admin.whole_log().await;
    assert_eq!(before[0]["data"], json!({"email": user.email, "username": "ada"}));
    erase(&admin, &user.id, "request").await.expect(204);
    let after = admin.whole_log().await;
    assert_eq!(after.len(), before.len() + 1, "who is inactive is erased in one event");
    for event in after.iter().filter(|event| event["subject"] == user.id.as_str()) {
        let expected = match event["type"].as_str().unwrap() {
            "UserErased" => json!({"reason": "request"}),
            "UserDeactivated" => json!({"erased": true, "has_reason": true}),
            _ => json!({"erased": true}),
        };
        assert_eq!(event["data"], expected, "{event}");
    }
}

async fn erased_user_leaves_no_trace_in_any_table_or_version(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let admin = app.admin().await;
    let (erased_user, other) = (app.sign_up("zyxgone").await, app.sign_up("zyxstays").await);
    admin.post("/projections/users/rebuild").send().await.expect(202);
    eventually("the second version to be read", async || {
        let status = admin.get("/projections/users").send().await.expect(200).json();
        let live = |version: &Value| version["role"] == "live" && version["version"] == 2;
        status["versions"].as_array().unwrap().iter().any(live).then_some(())
    })
    .await;
    let erased = erase_me(&erased_user, &json!({"password": PASSWORD})).await.expect(204);
    eventually("every version to project the erasure", async || {
        let status = admin.get("/projections/users").send().await.expect(200).json();
        let is_projected = |version: &Value| version["position"].as_u64() >= Some(erased.position());
        status["versions"].as_array().unwrap().iter().all(is_projected).then_some(())
    })
    .await;
    for (name, bytes) in dump(&store).await {
        assert!(!contains_text(&bytes, "zyxgone"), "the erased user is in {name}");
        assert_eq!(contains_text(&bytes, "zyxstays"), name.starts_with("users_"), "{name}");
    }
    other.get("/users/me").send().await.expect(200);
    let logs = captured_logs();
    assert!(!contains_text(logs.as_bytes(), "zyxgone"), "the erased user was logged");
    app.stopped().await;
    if store.mongo_address().is_none() {
        assert!(!contains_text(&raw_bytes_without(&store, "users_1"), "zyxgone"), "left in the raw file");
    }
}

async fn cli_erasure_keeps_the_log_verifiable(store: Store) {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    let client = service.client();
    let sign_up = || client.post("/auth/signup").json(&credentials("ada")).send();
    let id = sign_up().await.expect(201).json()["id"].as_str().unwrap().to_owned();
    let email = email_of("ada");
    for unsure in
        [&["users", "erase", &email, "--reason", "request"][..], &["users", "erase", &email, "--yes"]]
    {
        assert_eq!(deployment.run(unsure).await.code, Some(2), "{unsure:?}");
    }
    let done = deployment.run_ok(&["users", "erase", &email, "--reason", "request", "--yes"]).await;
    assert!(done.stdout.contains(&id) && done.stdout.contains("is erased"), "{done:?}");
    assert!(!done.stdout.contains(&email), "{done:?}");
    for again in [&email, &id] {
        let refused = deployment.run(&["users", "erase", again, "--reason", "other", "--yes"]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
    }
    sign_up().await.expect(201);
    deployment.run_ok(&["events", "verify"]).await;
    let rebuilt = deployment.run_ok(&["projections", "rebuild", "users"]).await;
    assert!(rebuilt.stdout.contains("the same as before"), "{rebuilt:?}");
    deployment.run_ok(&["projections", "verify", "users"]).await;
}
