//! The OpenAPI description: real answers are as it says. `tests/api_clients` compares the rest, with requests
//! that are made from the description.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Client, JsonSchema, PASSWORD, Request, Response, Store, TestApp, credentials, email_of, on_both_stores,
    sign_up_request,
};

on_both_stores! {
    answers_to_bad_requests_are_as_described
    answers_to_conflicts_are_as_described
    histories_and_exports_are_as_described
    minimum_length_of_passwords_is_described
}

/// The description of a service.
struct Description(Value);

impl Description {
    async fn of(client: &Client) -> Self {
        Self(client.get("/openapi.json").send().await.expect(200).json())
    }

    /// Sends a request to a path of the description, and compares the answer with it.
    #[track_caller]
    fn assert_describes(&self, operation: &str, answer: &Response) {
        let (method, path) = operation.split_once(' ').unwrap();
        let responses = &self.0["paths"][format!("/api/v1{path}")][method.to_lowercase()]["responses"];
        let described = &responses[answer.status().to_string()];
        assert!(
            described.is_object(),
            "{operation} does not describe {}: {}",
            answer.status(),
            answer.text()
        );
        let headers = described["headers"].as_object().unwrap();
        for name in ["X-Request-Id", "WWW-Authenticate", "Retry-After", "ETag", "Aegis-Position", "Location"]
        {
            let is_described = headers.contains_key(name);
            assert!(answer.header(name).is_empty() || is_described, "{operation} does not describe {name}");
        }
        let Some(content) = described.get("content") else {
            assert_eq!(answer.text(), "", "{operation}");
            return;
        };
        let schema = &content["application/json"]["schema"];
        let violations = JsonSchema::of(&self.0).violations(schema, &answer.json());
        assert!(violations.is_empty(), "{operation}: {violations:?} in {}", answer.text());
    }

    /// As [`Description::assert_describes`], after the status and the code of an error.
    #[track_caller]
    fn assert_error(&self, operation: &str, answer: &Response, status: u16, code: &str) {
        assert_eq!(answer.code(status), code, "{operation}");
        self.assert_describes(operation, answer);
    }
}

async fn answers_to_bad_requests_are_as_described(store: Store) {
    let app = TestApp::start(store).await;
    let description = Description::of(&app).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let (path, history) = (format!("/users/{}", user.id), format!("/users/{}/events", user.id));
    let unreadable = |request: Request| request.body("application/json", vec![b'"', 0xFF, b'"']);
    let large = |request: Request| request.body("application/json", vec![b' '; 70 * 1024]);
    let beyond = |request: Request| request.header("Aegis-Min-Position", "1000000");
    let signup = || app.post("/auth/signup");
    let get = |path: &str| admin.get(path);
    for (operation, request, status, code) in [
        ("POST /auth/signup", signup().json(&json!({"email": 7})), 422, "validation_error"),
        ("POST /auth/signup", unreadable(signup()), 400, "unreadable_body"),
        ("POST /auth/signup", large(signup()), 413, "body_too_large"),
        ("POST /auth/login/access-token", app.post("/auth/login/access-token"), 422, "validation_error"),
        ("GET /users/me", app.get("/users/me"), 401, "not_authenticated"),
        ("GET /users/me", app.get("/users/me").bearer("x"), 403, "invalid_token"),
        ("GET /users/me", beyond(user.get("/users/me")), 422, "validation_error"),
        ("GET /users/me/export", beyond(user.get("/users/me/export")), 422, "validation_error"),
        ("GET /users/{id}", user.get(&path), 403, "forbidden"),
        ("GET /users/{id}", get("/users/x"), 404, "not_found"),
        ("GET /users/{id}", get(&format!("{path}?as_of=yesterday")), 422, "validation_error"),
        ("GET /users/{id}/events", get(&format!("{history}?limit=1")), 422, "validation_error"),
        ("POST /users/{id}/unlock", beyond(admin.post(&format!("{path}/unlock"))), 422, "validation_error"),
        ("POST /users/{id}/erase", unreadable(admin.post(&format!("{path}/erase"))), 400, "unreadable_body"),
        ("PUT /users/{id}/roles/{role}", admin.put(&format!("{path}/roles/root")), 422, "validation_error"),
        ("GET /events", get("/events?limit=1001"), 422, "validation_error"),
        ("GET /events", get("/events?stream=A"), 422, "validation_error"),
        ("POST /webhooks", admin.post("/webhooks").json(&json!({"url": "x"})), 422, "validation_error"),
        ("GET /webhooks/{id}", get("/webhooks/x"), 404, "not_found"),
        ("GET /log/proof/{position}", get("/log/proof/x"), 422, "validation_error"),
        ("GET /log/proof/{position}", get("/log/proof/1000000"), 404, "not_found"),
        ("GET /stats", get("/stats?from=2026-02-30"), 422, "validation_error"),
        ("GET /health/ready", app.get("/health/ready?x=1"), 422, "validation_error"),
        (
            "POST /projections/{name}/rollback",
            admin.post("/projections/users/rollback").json(&json!({"to": u64::MAX})),
            422,
            "validation_error",
        ),
    ] {
        description.assert_error(operation, &request.send().await, status, code);
    }
}

async fn answers_to_conflicts_are_as_described(store: Store) {
    let app = TestApp::start(store).await;
    let description = Description::of(&app).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let taken = sign_up_request(&app, "ada").send().await;
    description.assert_error("POST /auth/signup", &taken, 400, "email_taken");
    let wrong = app.log_in(&email_of("ada"), "wrong").await;
    description.assert_error("POST /auth/login/access-token", &wrong, 400, "invalid_credentials");
    let keyed =
        |name: &str| app.post("/auth/signup").header("Idempotency-Key", "k").json(&credentials(name)).send();
    description.assert_describes("POST /auth/signup", &keyed("bob").await.expect(201));
    description.assert_error("POST /auth/signup", &keyed("eve").await, 422, "idempotency_key_reused");
    let bob = keyed("bob").await.expect(201).json()["id"].as_str().unwrap().to_owned();
    let erase = admin.post(&format!("/users/{bob}/erase")).json(&json!({"reason": "request"})).send().await;
    description.assert_describes("POST /users/{id}/erase", &erase.expect(204));
    description.assert_error("POST /auth/signup", &keyed("bob").await, 410, "erased");
    let path = format!("/users/{}", user.id);
    let unlock = admin.post(&format!("{path}/unlock")).header("If-Match", "\"99\"").send().await;
    description.assert_error("POST /users/{id}/unlock", &unlock, 412, "version_mismatch");
    let revoke = admin.delete(&format!("/users/{}/roles/admin", admin.id)).send().await;
    description.assert_error("DELETE /users/{id}/roles/{role}", &revoke, 409, "last_admin");
    let erased = user.request(Method::DELETE, "/users/me").json(&json!({"password": PASSWORD})).send().await;
    description.assert_describes("DELETE /users/me", &erased.expect(204));
    for (operation, path) in [("GET /users/me", "/users/me"), ("GET /events", "/events")] {
        description.assert_error(operation, &user.get(path).send().await, 404, "not_found");
    }
}

async fn histories_and_exports_are_as_described(store: Store) {
    let app = TestApp::start(store).await;
    let description = Description::of(&app).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let path = format!("/users/{}", user.id);
    admin.deactivate(&user.id).send().await.expect(200);
    let active = admin.reactivate(&user.id).send().await.expect(200);
    description.assert_describes("POST /users/{id}/reactivate", &active);
    let granted = admin.put(&format!("{path}/roles/auditor")).send().await;
    description.assert_describes("PUT /users/{id}/roles/{role}", &granted.expect(204));
    let head = app.head().await;
    let token = app.token_of(&user.email).await;
    let export = app.get("/users/me/export").bearer(&token).send().await;
    description.assert_describes("GET /users/me/export", &export.expect(200));
    let assert_shown = async || {
        let shown = admin.get(&format!("{path}?as_of={head}")).send().await;
        description.assert_describes("GET /users/{id}", &shown.expect(200));
        let history = admin.get(&format!("{path}/events")).send().await;
        description.assert_describes("GET /users/{id}/events", &history.expect(200));
    };
    assert_shown().await;
    description.assert_describes("GET /users/{id}", &admin.get(&path).send().await.expect(200));
    admin.post(&format!("{path}/erase")).json(&json!({"reason": "policy"})).send().await.expect(204);
    assert_shown().await;
    for (operation, path) in [
        ("GET /events", "/events"),
        ("GET /projections", "/projections"),
        ("GET /stats", "/stats"),
        ("GET /log/proof/{position}", "/log/proof/1"),
        ("GET /health/ready", "/health/ready"),
    ] {
        description.assert_describes(operation, &admin.get(path).send().await.expect(200));
    }
}

async fn minimum_length_of_passwords_is_described(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.passwords.min_length = 15).await;
    let description = Description::of(&app).await;
    let sign_up = &description.0["components"]["schemas"]["SignUp"];
    assert_eq!(sign_up["properties"]["password"]["minLength"], 15);
}
