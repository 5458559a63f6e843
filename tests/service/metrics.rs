//! `GET /metrics`: authorization and content.

use domain::Role;
use reqwest::Method;

use crate::support::{
    Client, Response, Store, TestApp, credentials, metric, on_both_stores, on_one_store, raw,
};

on_both_stores! {
    metrics_are_visible_to_loopback_operators_and_administrators
    metrics_on_loopback_require_a_local_host
    metrics_come_in_both_text_formats
    http2_connections_offer_a_bounded_number_of_streams
    appends_and_group_commit_batches_are_counted
    http_requests_are_counted_by_route_method_and_status
}

mod out_of_reach {
    use super::{metrics_are_served_without_the_database, on_one_store};

    on_one_store! { mongo: metrics_are_served_without_the_database }
}

const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn at(client: &Client, path: &str) -> Response {
    client.request_at_root(Method::GET, path).send().await
}

async fn metrics_are_visible_to_loopback_operators_and_administrators(store: Store) {
    let app = TestApp::start(store).await;
    for path in ["/metrics", "/api/v1/metrics"] {
        let answer = at(&app, path).await.expect(200);
        assert_eq!(answer.header("Content-Type"), CLASSIC);
        assert!(answer.text().starts_with("# HELP "), "{}", answer.text());
    }
    // Behind a local proxy every client has a loopback address.
    for header in ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip", "Via"] {
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

/// A page whose name resolves to a loopback address (DNS rebinding) sends its own name as the host.
async fn metrics_on_loopback_require_a_local_host(store: Store) {
    let app = TestApp::start(store).await;
    let status = async |host: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw(app.address(), head.as_bytes()).await.unwrap().status
    };
    for host in ["localhost", "LocalHost:8000", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:8000"] {
        assert_eq!(status(host).await, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8000", "localhost.evil.example", "192.0.2.1", "127.0.0.1.evil"]
    {
        assert_eq!(status(host).await, 401, "{host}");
    }
    let user = app.user_with(Role::Operator).await;
    user.get("/metrics").header("Host", "evil.example").send().await.expect(200);
}

async fn metrics_come_in_both_text_formats(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    let scrape = async |accept: &str| {
        let answer = app.get("/metrics").header("Accept", accept).send().await.expect(200);
        (answer.header("Content-Type").to_owned(), answer.text())
    };
    // As Prometheus 2 and 3 send it.
    let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      text/plain;version=0.0.4;q=0.4,*/*;q=0.2";
    for accept in ["application/openmetrics-text", prometheus] {
        let (kind, text) = scrape(accept).await;
        assert_eq!(kind, OPEN_METRICS, "{accept}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(text.contains("# TYPE aegis_appends counter\n"), "{text}");
        assert!(text.contains("\naegis_appends_total{"), "{text}");
    }
    for accept in ["*/*", "text/plain", "application/openmetrics-text;q=0, text/plain", ""] {
        let (kind, text) = scrape(accept).await;
        assert_eq!(kind, CLASSIC, "{accept}");
        assert_classic(&text);
    }
}

/// Prometheus text format 0.0.4: each family has one `HELP` and one `TYPE`, whose name its samples carry.
#[track_caller]
fn assert_classic(text: &str) {
    let mut kinds = std::collections::BTreeMap::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["#", "HELP", _, _, ..] => {}
            ["#", "TYPE", name, kind] => {
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(kinds.insert(name, kind).is_none(), "{line} comes twice");
            }
            ["#", ..] => panic!("{line} is unknown to the format"),
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let is_known = kinds.contains_key(name)
                    || histogram.is_some_and(|name| kinds.get(name) == Some(&"histogram"));
                assert!(is_known, "{line} has no TYPE");
            }
        }
    }
    assert_eq!(kinds.get("aegis_appends_total"), Some(&"counter"), "{text}");
    assert_eq!(kinds.get("aegis_build_info"), Some(&"gauge"), "{text}");
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
}

async fn http2_connections_offer_a_bounded_number_of_streams(store: Store) {
    let app = TestApp::start(store).await;
    let stream = tokio::net::TcpStream::connect(app.address()).await.unwrap();
    let (requests, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut ping = connection.ping_pong().unwrap();
    let driver = tokio::spawn(connection);
    // The answer to a ping follows the settings.
    ping.ping(h2::Ping::opaque()).await.unwrap();
    assert_eq!(requests.current_max_send_streams(), 32);
    driver.abort();
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
