//! Routes: health, unknown paths, wrong methods, the front page and the OpenAPI description.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::json;

use crate::support::{Store, TestApp, credentials, on_both_stores};

on_both_stores! {
    liveness_is_answered_without_the_database
    service_with_its_database_is_ready
    front_page_links_to_the_openapi_description
    unknown_path_is_not_found
    wrong_method_is_answered_with_allow_header
    trailing_slash_is_ignored
    head_is_answered_like_get_without_a_body
    openapi_description_is_served_offline
    documentation_page_is_confined_and_cannot_be_framed
    routes_are_served_with_their_methods_only
    api_prefix_is_configurable
}

async fn liveness_is_answered_without_the_database(store: Store) {
    let app = TestApp::start(store).await;
    let answer = app.get("/health").send().await.expect(200);
    assert_eq!(answer.json(), json!({"status": "ok", "message": "API is healthy"}));
}

async fn service_with_its_database_is_ready(store: Store) {
    let app = TestApp::start(store).await;
    app.readiness().await.expect(200);
}

async fn front_page_links_to_the_openapi_description(store: Store) {
    let app = TestApp::start(store).await;
    let answer = app.request_at_root(Method::GET, "/").send().await.expect(200);
    let (body, text) = (answer.json(), answer.text());
    assert_eq!(body["name"], "Aegis");
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert!(text.contains("\"/docs\"") && text.contains("\"/api/v1/openapi.json\""), "{text}");
}

async fn unknown_path_is_not_found(store: Store) {
    let app = TestApp::start(store).await;
    for path in [
        "/nothing",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v1/users/me/nothing",
        "/api/v1/auth",
        "/api/v2/health",
    ] {
        let body = app.request_at_root(Method::GET, path).send().await.error_body(404);
        assert_eq!(body["detail"], "Not Found", "{path}");
        assert!(body["code"].is_string(), "{body}");
        app.request_at_root(Method::POST, path).send().await.error_body(404);
    }
}

async fn wrong_method_is_answered_with_allow_header(store: Store) {
    let app = TestApp::start(store).await;
    for (path, method, allowed) in [
        ("/auth/signup", Method::GET, "POST"),
        ("/auth/signup", Method::DELETE, "POST"),
        ("/auth/login/access-token", Method::GET, "POST"),
        ("/users/me", Method::POST, "GET"),
        ("/users/me", Method::TRACE, "GET"),
        ("/health", Method::POST, "GET"),
        ("/events", Method::PUT, "GET"),
    ] {
        let answer = app.request(method, path).send().await;
        let body = answer.error_body(405);
        assert_eq!(body["detail"], "Method Not Allowed", "{path}");
        assert!(body["code"].is_string(), "{body}");
        let allow: Vec<_> = answer.header("Allow").split(',').map(str::trim).collect();
        assert!(allow.contains(&allowed), "{path}: Allow: {}", answer.header("Allow"));
    }
    let answer = app.request_at_root(Method::from_bytes(b"BREW").unwrap(), "/api/v1/users/me").send().await;
    answer.expect(405);
}

async fn trailing_slash_is_ignored(store: Store) {
    let app = TestApp::start(store).await;
    app.get("/health/").send().await.expect(200);
    app.post("/auth/signup/").json(&credentials("ada")).send().await.expect(201);
    let form = [("username", "ada@example.com"), ("password", crate::support::PASSWORD)];
    let answer = app.post("/auth/login/access-token/").form(&form).send().await.expect(200);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    app.get("/users/me/").bearer(&token).send().await.expect(200);
    app.get("/nothing/").send().await.expect(404);
    app.get("/auth/signup/").send().await.expect(405);
    app.get("/users/me/?a=/").bearer(&token).send().await.expect(200);
}

async fn head_is_answered_like_get_without_a_body(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    for path in ["/health", "/users/me"] {
        let get = user.get(path).send().await.expect(200);
        let head = user.request(Method::HEAD, path).send().await.expect(200);
        assert_eq!(head.text(), "");
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"));
    }
    app.request(Method::HEAD, "/nothing").send().await.expect(404);
}

async fn openapi_description_is_served_offline(store: Store) {
    let app = TestApp::start(store).await;
    let description = app.get("/openapi.json").send().await.expect(200).json();
    assert!(description["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    for path in
        ["/api/v1/auth/signup", "/api/v1/auth/login/access-token", "/api/v1/users/me", "/api/v1/health"]
    {
        assert!(description["paths"][path].is_object(), "{path} is not described");
    }
    let mut page = app.request_at_root(Method::GET, "/docs").send().await;
    if (300..400).contains(&page.status()) {
        let target = page.header("Location").to_owned();
        assert!(target.starts_with('/'), "{target}");
        page = app.request_at_root(Method::GET, &target).send().await;
    }
    let page = page.expect(200).text();
    let sources = ["src=\"", "href=\""].into_iter().flat_map(|attribute| page.split(attribute).skip(1));
    for target in sources.map(|rest| rest.split('"').next().unwrap()) {
        assert!(!target.starts_with("http") && !target.starts_with("//"), "{target} needs the internet");
    }
}

/// The page needs scripts and styles of its own origin, images in the styles, and requests to the API.
async fn documentation_page_is_confined_and_cannot_be_framed(store: Store) {
    let app = TestApp::start(store).await;
    for path in ["/docs", "/docs/", "/docs/swagger-ui-bundle.js", "/docs/swagger-initializer.js"] {
        let answer = app.request_at_root(Method::GET, path).send().await.expect(200);
        assert_eq!(answer.header("X-Frame-Options"), "DENY", "{path}");
        assert_eq!(answer.header("X-Content-Type-Options"), "nosniff", "{path}");
        let policy = answer.header("Content-Security-Policy");
        let directives: Vec<_> = policy.split("; ").collect();
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'self'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(directives.contains(&directive), "{path}: {directive} is not in {policy}");
        }
        assert!(!policy.contains("unsafe-eval") && !policy.contains("http"), "{policy}");
    }
    // The policy forbids scripts inside the page.
    let page = app.request_at_root(Method::GET, "/docs").send().await.text();
    for script in page.split("<script").skip(1) {
        let (attributes, rest) = script.split_once('>').unwrap();
        assert!(attributes.contains(" src=") && rest.trim_start().starts_with("</script>"), "{script}");
    }
}

async fn routes_are_served_with_their_methods_only(store: Store) {
    let app = TestApp::start(store).await;
    let mut methods_of = BTreeMap::<_, BTreeSet<_>>::new();
    for (method, path) in aegis::http::routes(&TestApp::settings_of(app.store()).http) {
        methods_of.entry(path).or_default().insert(method.to_string());
    }
    for (template, methods) in methods_of {
        let path = template
            .replace("{build}/{*file}", "0/main.js")
            .replace("{*file}", "index.html")
            .replace(['{', '}'], "");
        for name in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            let answer = app.request_at_root(method, &path).send().await;
            if methods.contains(name) {
                assert!(answer.status() != 405, "{name} {template} is listed and not served");
                assert!(!answer.text().contains("\"Not Found\""), "{name} {template} is not served");
            } else {
                assert_eq!(answer.status(), 405, "{name} {template} is served and not listed");
                let allowed: BTreeSet<_> = answer.header("Allow").split(',').map(str::to_owned).collect();
                let allowed: BTreeSet<_> = allowed.into_iter().filter(|name| name != "HEAD").collect();
                assert_eq!(allowed, methods, "{template}");
            }
        }
    }
}

async fn api_prefix_is_configurable(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.http.api_prefix = String::from("/v7")).await;
    let answer = app
        .request_at_root(Method::POST, "/v7/auth/signup")
        .json(&credentials("ada"))
        .send()
        .await
        .expect(201);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("Location"), format!("/v7/users/{id}"));
    app.post("/auth/signup").json(&credentials("bob")).send().await.expect(404);
}
