//! Cross-origin requests (Fetch, "CORS protocol").

use reqwest::Method;

use crate::support::{Client, PASSWORD, Request, Response, Store, TestApp, credentials, on_both_stores};

on_both_stores! {
    preflight_of_an_allowed_origin_is_answered
    preflight_of_an_unknown_origin_allows_nothing
    responses_are_readable_by_an_allowed_origin
    error_responses_carry_cors_headers
    not_ready_responses_carry_cors_headers
    without_configured_origins_cors_is_disabled
}

const ORIGIN: &str = "https://app.example";

fn list(value: &str) -> Vec<String> {
    value.split(',').map(|item| item.trim().to_ascii_lowercase()).collect()
}

fn preflight(client: &Client, origin: &str, method: &str, path: &str) -> Request {
    client
        .request(Method::OPTIONS, path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key")
}

async fn preflight_of_an_allowed_origin_is_answered(store: Store) {
    let app = TestApp::start(store).await;
    for (method, path) in [
        ("POST", "/auth/signup"),
        ("GET", "/users/me"),
        ("PUT", "/users/x/roles/admin"),
        ("DELETE", "/users/x/roles/admin"),
        ("GET", "/events/stream"),
    ] {
        let answer = preflight(&app, ORIGIN, method, path).send().await;
        assert!([200, 204].contains(&answer.status()), "{path}: {}", answer.status());
        assert_eq!(answer.header("Access-Control-Allow-Origin"), ORIGIN);
        assert!(list(answer.header("Access-Control-Allow-Methods")).contains(&method.to_ascii_lowercase()));
        let allowed = list(answer.header("Access-Control-Allow-Headers"));
        for header in [
            "authorization",
            "content-type",
            "idempotency-key",
            "if-match",
            "aegis-min-position",
            "last-event-id",
            "x-request-id",
            "traceparent",
            "tracestate",
            "baggage",
            "sentry-trace",
            "cache-control",
            "if-none-match",
        ] {
            assert!(allowed.iter().any(|name| name == header), "{header} is not in {allowed:?}");
        }
    }
}

async fn preflight_of_an_unknown_origin_allows_nothing(store: Store) {
    let app = TestApp::start(store).await;
    for origin in ["https://evil.example", "http://app.example", "https://app.example.evil.example", "null"] {
        let answer = preflight(&app, origin, "POST", "/auth/signup").send().await;
        assert_ne!(answer.header("Access-Control-Allow-Origin"), origin);
        assert_ne!(answer.header("Access-Control-Allow-Origin"), "*");
        assert!(answer.status() < 500, "{}", answer.status());
    }
}

#[track_caller]
fn assert_readable(answer: &Response) {
    assert_eq!(answer.header("Access-Control-Allow-Origin"), ORIGIN, "status {}", answer.status());
    assert!(list(answer.header("Vary")).contains(&"origin".to_owned()), "Vary: {}", answer.header("Vary"));
    let exposed = list(answer.header("Access-Control-Expose-Headers"));
    for header in ["location", "etag", "retry-after", "aegis-position", "x-request-id"] {
        assert!(exposed.iter().any(|name| name == header), "{header} is not in {exposed:?}");
    }
}

async fn responses_are_readable_by_an_allowed_origin(store: Store) {
    let app = TestApp::start(store).await;
    let signed_up = app.post("/auth/signup").header("Origin", ORIGIN).json(&credentials("ada")).send().await;
    assert_readable(&signed_up.expect(201));
    let token = app.token_of("ada@example.com").await;
    let me = app.get("/users/me").bearer(&token);
    assert_readable(&me.header("Origin", ORIGIN).send().await.expect(200));
    let answer = app.get("/health").header("Origin", "https://evil.example").send().await.expect(200);
    assert_ne!(answer.header("Access-Control-Allow-Origin"), "https://evil.example");
}

async fn error_responses_carry_cors_headers(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    let post = |body: &str| app.post("/auth/signup").body("application/json", body.to_owned());
    let wrong = [("username", "ada@example.com"), ("password", "wrong")];
    for (request, status) in [
        (post(&credentials("ada").to_string()), 400),
        (post("{}"), 422),
        (post("nonsense"), 422),
        (post(&"x".repeat(65 * 1024 + 1)), 413),
        (app.get("/users/me"), 401),
        (app.get("/users/me").bearer("x"), 403),
        (app.get("/nothing"), 404),
        (app.get("/auth/signup"), 405),
        (app.post("/auth/login/access-token").form(&wrong), 400),
        (app.get("/health").header("Aegis-Min-Position", "x"), 200),
    ] {
        assert_readable(&request.header("Origin", ORIGIN).send().await.expect(status));
    }
}

async fn not_ready_responses_carry_cors_headers(store: Store) {
    let app = TestApp::start_without_projector(store).await;
    app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201);
    let login = app.post("/auth/login/access-token").header("Origin", ORIGIN);
    let form = [("username", "ada@example.com"), ("password", PASSWORD)];
    assert_readable(&login.form(&form).send().await.expect(503));
}

async fn without_configured_origins_cors_is_disabled(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.http.cors_origins = Vec::new()).await;
    let answer = preflight(&app, ORIGIN, "POST", "/auth/signup").send().await;
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "");
    let answer = app.get("/health").header("Origin", ORIGIN).send().await.expect(200);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "");
}
