//! `GET /metrics`: authorization and content.

use domain::Role;
use reqwest::Method;

use crate::support::{Client, Response, Store, TestApp, credentials, metric, on_both_stores, on_one_store};

on_both_stores! {
    metrics_are_visible_to_loopback_operators_and_administrators
    appends_and_group_commit_batches_are_counted
    http_requests_are_counted_by_route_method_and_status
}

mod out_of_reach {
    use super::{metrics_are_served_without_the_database, on_one_store};

    on_one_store! { mongo: metrics_are_served_without_the_database }
}

async fn at(client: &Client, path: &str) -> Response {
    client.request_at_root(Method::GET, path).send().await
}

async fn metrics_are_visible_to_loopback_operators_and_administrators(store: Store) {
    let app = TestApp::start(store).await;
    for path in ["/metrics", "/api/v1/metrics"] {
        let answer = at(&app, path).await.expect(200);
        assert_eq!(
            answer.header("Content-Type"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        assert!(answer.text().starts_with("# HELP "), "{}", answer.text());
    }
    // Behind a local proxy every client has a loopback address.
    for header in ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto"] {
        let proxied = || app.get("/metrics").header(header, "198.51.100.7");
        assert_eq!(proxied().send().await.code(401), "not_authenticated");
        assert_eq!(proxied().bearer("nonsense").send().await.code(403), "invalid_token");
    }
    for (role, status) in
        [(Role::Admin, 200), (Role::Operator, 200), (Role::Auditor, 403), (Role::Subscriber, 403)]
    {
        let user = app.user_with(role).await;
        user.get("/metrics").header("X-Forwarded-For", "198.51.100.7").send().await.expect(status);
    }
    let plain = app.sign_up("ada").await;
    let refused = plain.get("/metrics").header("X-Forwarded-For", "198.51.100.7").send().await;
    assert_eq!(refused.code(403), "forbidden");
}

async fn appends_and_group_commit_batches_are_counted(store: Store) {
    let app = TestApp::start(store).await;
    for name in ["ada", "bob"] {
        app.post("/auth/signup").json(&credentials(name)).send().await.expect(201);
    }
    app.post("/auth/signup").json(&credentials("ada")).send().await.expect(400);
    let text = at(&app, "/metrics").await.expect(200).text();
    for (series, expected) in [
        ("aegis_database_reached", 1.0),
        ("aegis_log_head_position", 2.0),
        ("aegis_appends_total{outcome=\"appended\"}", 2.0),
        ("aegis_appends_total{outcome=\"refused\"}", 1.0),
        ("aegis_appends_total{outcome=\"busy\"}", 0.0),
        ("aegis_append_queue_depth", 0.0),
        ("aegis_append_batch_events_bucket{le=\"1.0\"}", 3.0),
        ("aegis_append_batch_events_bucket{le=\"+Inf\"}", 3.0),
        ("aegis_append_batch_events_sum", 3.0),
        ("aegis_append_batch_events_count", 3.0),
        ("aegis_append_commit_seconds_count", 3.0),
        ("aegis_transaction_retries_total{label=\"UnknownTransactionCommitResult\"}", 0.0),
    ] {
        assert_eq!(metric(&text, series), Some(expected), "{series} in {text}");
    }
    assert!(metric(&text, "aegis_append_commit_seconds_sum").unwrap() > 0.0, "{text}");
    metric(&text, &format!("aegis_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))).unwrap();
    for personal in ["ada", "bob", "example.com"] {
        assert!(!text.contains(personal), "{text}");
    }
}

async fn http_requests_are_counted_by_route_method_and_status(store: Store) {
    let app = TestApp::start(store).await;
    app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201);
    app.post("/auth/signup/").json(&credentials("bob")).send().await.expect(201);
    app.post("/auth/signup").json(&credentials("ada")).send().await.expect(400);
    app.get("/users/0193e2b4-0000-7000-8000-000000000001").send().await.expect(401);
    app.get("/nothing/ada@example.com").send().await.expect(404);
    app.request(Method::from_bytes(b"BREW").unwrap(), "/health").send().await.expect(405);
    let text = at(&app, "/metrics").await.expect(200).text();
    for (labels, expected) in [
        ("route=\"/api/v1/auth/signup\",method=\"POST\",status=\"201\"", 2.0),
        ("route=\"/api/v1/auth/signup\",method=\"POST\",status=\"400\"", 1.0),
        ("route=\"/api/v1/users/{id}\",method=\"GET\",status=\"401\"", 1.0),
        ("route=\"unmatched\",method=\"GET\",status=\"404\"", 1.0),
        ("route=\"/api/v1/health\",method=\"other\",status=\"405\"", 1.0),
    ] {
        for series in ["requests_total", "request_duration_seconds_count"] {
            let series = format!("aegis_http_{series}{{{labels}}}");
            assert_eq!(metric(&text, &series), Some(expected), "{series} in {text}");
        }
    }
    for personal in ["ada@", "0193e2b4-0000", "BREW"] {
        assert!(!text.contains(personal), "{personal} in {text}");
    }
}

async fn metrics_are_served_without_the_database() {
    let nowhere = Store::on_port(testkit::reserve_port());
    let app = TestApp::start_without_waiting(nowhere).await;
    let text = at(&app, "/metrics").await.expect(200).text();
    assert_eq!(metric(&text, "aegis_database_reached"), Some(0.0));
    assert!(!text.contains("aegis_appends_total"), "{text}");
}
