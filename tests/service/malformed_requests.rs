//! Malformed and hostile requests: the answer is never a 5xx, and the service keeps running.

use std::fmt::Write;

use serde_json::json;

use crate::support::{
    PASSWORD, Store, TestApp, User, assert_no_gap, captured_logs, credentials, on_both_stores, raw,
};

on_both_stores! {
    malformed_request_lines_and_headers_cause_no_5xx
    request_heads_that_violate_http_are_refused
    valid_request_heads_are_answered
    malformed_bodies_cause_no_5xx
    malformed_queries_and_paths_cause_no_5xx
    aborted_connections_are_harmless
    idle_connections_do_not_block_others
}

/// Asserts that the service still works and no handler has panicked.
async fn assert_alive(app: &TestApp, name: &str) {
    let user = app.sign_up(name).await;
    user.get("/users/me").send().await.expect(200);
    app.readiness().await.expect(200);
    assert!(!captured_logs().contains("panicked"), "a handler has panicked");
}

async fn malformed_request_lines_and_headers_cause_no_5xx(store: Store) {
    let app = TestApp::start(store).await;
    let token = app.sign_up("ada").await.token;
    let mut requests: Vec<Vec<u8>> = [
        "", "\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\0\0\0", "GET / HTTP/1.1\r\n\r\n",
        "GET  /  HTTP/1.1\r\nHost: a\r\n\r\n", "GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://else.where/api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /api/v1/users/me HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST /api/v1/auth/signup HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST /api/v1/auth/signup HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "POST /api/v1/auth/signup HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /api/v1/auth/signup HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /api/v1/auth/signup HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    ]
    .iter()
    .map(|request| request.as_bytes().to_vec())
    .collect();
    for header in [
        "Authorization: Bearer \u{FF}\u{FE}",
        "Authorization: \u{1}",
        "Authorization: Bearer a b c",
        "Authorization: Bearer ..",
        "Authorization: Bearer ....",
        "Authorization: Bearer =.=.=",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.",
        "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.e30.AA",
        "Authorization: Bearer eyJhbGciOiJ4In0.e30.AA",
        "Authorization:",
        "X-Request-Id: \u{7F}",
        "X-Request-Id: é",
        "Origin: \u{FF}",
        "Origin: https://app.example, https://b",
        "Aegis-Min-Position: 99999999999999999999999",
        "Aegis-Min-Position: \u{80}",
        "If-Match: \"\"\"",
        "Accept: \u{80}",
        "Content-Type: \u{80}",
        "Accept-Encoding: gzip;q=99999",
        "Range: bytes=0-1,5-2",
        "Cookie: a=b; c",
        "Last-Event-ID: -1",
        "Forwarded: for=\"[::1",
        "X-Forwarded-For: ,,,",
        "Upgrade: websocket\r\nConnection: upgrade",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Expect: the-impossible",
    ] {
        for line in ["GET /api/v1/users/me", "GET /api/v1/events/stream", "POST /api/v1/auth/signup"] {
            requests.push(
                format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}\r\n\r\n").into_bytes(),
            );
        }
    }
    let mut many = "GET /api/v1/users/me HTTP/1.1\r\nHost: a\r\n".to_owned();
    (0..2000).for_each(|number| write!(many, "X-{number}: {number}\r\n").unwrap());
    requests.push(format!("{many}\r\n").into_bytes());
    requests.push(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000)).into_bytes());
    requests.push(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(1_000_000)).into_bytes());
    requests.push(format!("GET /api/v1/users/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nAuthorization: Bearer x\r\n\r\n").into_bytes());
    for request in requests {
        if let Some(answer) = raw(app.address(), &request).await {
            let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
            assert!(answer.status < 500, "{shown:?} gave {}\n{}", answer.head, answer.body);
        }
    }
    assert_alive(&app, "bob").await;
}

/// Each is read differently by some proxy, or leaves the host of the request open (RFC 9112 §2.2, §3.2, §6).
const REFUSED_HEADS: [&str; 28] = [
    "GET /health HTTP/1.1\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost:\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a:port\r\n\r\n",
    "GET /health HTTP/1.1\nHost: a\n\n",
    "GET /health HTTP/1.1\r\nHost: a\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET  /health HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /health HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
];

async fn request_heads_that_violate_http_are_refused(store: Store) {
    let app = TestApp::start(store).await;
    for head in REFUSED_HEADS {
        let head = head.replace(" /health", " /api/v1/health");
        let answer = raw(app.address(), head.as_bytes()).await;
        assert_eq!(answer.map(|answer| answer.status), Some(400), "{head:?}");
        // The second request of a connection is checked like the first.
        let good = "GET /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = raw(app.address(), format!("{good}{head}{good}").as_bytes()).await.unwrap();
        let statuses: Vec<_> = answer.body.matches("HTTP/1.1 ").collect();
        assert!(answer.status == 200 && answer.body.contains("HTTP/1.1 400 "), "{head:?}: {answer:?}");
        assert_eq!(statuses.len(), 1, "{head:?}: the connection was read on: {}", answer.body);
    }
}

async fn valid_request_heads_are_answered(store: Store) {
    let app = TestApp::start(store).await;
    for head in [
        "GET /health HTTP/1.0\r\n\r\n",
        "\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /health HTTP/1.1\r\nhOST:a:8000 \r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: aegis_1.internal\r\nX-Empty:\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\nT: u\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\n\r\n\n\r",
    ] {
        let head = head.replace(" /health", " /api/v1/health");
        let answer = raw(app.address(), head.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 200, "{head:?}: {}", answer.head);
        // What follows the message is the next request.
        let next = "GET /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = raw(app.address(), format!("{next}{head}{next}").as_bytes()).await.unwrap();
        let expected = if head.contains("HTTP/1.0") { 1 } else { 2 };
        assert_eq!(answer.body.matches(" 200 OK\r\n").count(), expected, "{head:?}: {}", answer.body);
    }
}

fn bodies() -> Vec<Vec<u8>> {
    let good = credentials("eve");
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "\0",
        "null",
        "{}",
        "[]",
        "{\"\":\"\"}",
        "{\"email\":\"\\u0000\"}",
        "{\"email\":\"\\ud800\"}",
        "\u{FEFF}",
        "\u{FEFF}\u{FEFF}{}",
        "{\"email\":{\"$ne\":null}}",
        "{\"email\":{\"$gt\":\"\"},\"password\":{\"$gt\":\"\"}}",
        "{\"__proto__\":{\"is_admin\":true}}",
        "{\"email\":\"a@b.c\",\"email\":\"d@e.f\"}",
        "1e400",
        "-",
        "\"",
        "[[[[[[",
        "{\"email\":\"'; DROP TABLE users_1; --@example.com\"}",
        "username=a&username=b&password=c&password=d",
        "username[$ne]=a&password[$ne]=b",
        "=&=&=",
        "%",
        "username=%00&password=%00",
        "--x--",
        "--x\r\n\r\n",
    ]
    .iter()
    .map(|body| body.as_bytes().to_vec())
    .collect();
    bodies.extend([
        vec![0xFF; 100],
        vec![0; 1000],
        (0..=255).collect(),
        vec![b'['; 60_000],
        vec![b'a'; 65_536],
    ]);
    for (field, value) in [
        ("email", json!("\u{0}@\u{0}.com")),
        ("email", json!("x".repeat(60_000))),
        ("email", json!(format!("{}@example.com", "\"\\".repeat(1000)))),
        ("email", json!("xn--a@xn--a.xn--a")),
        ("email", json!("a@\u{FDFA}\u{FDFA}\u{FDFA}.com")),
        ("email", json!("a@１.１.１.１")),
        ("email", json!("\u{1F469}\u{200D}\u{1F4BB}@example.com")),
        ("username", json!("\u{FDFA}".repeat(3000))),
        ("username", json!(format!("a{}", "\u{301}".repeat(20_000)))),
        ("username", json!("\u{202E}\u{2066}\u{2069}")),
        ("username", json!({"$where": "sleep(1000)"})),
        ("username", json!("$set.a.b")),
        ("password", json!("\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}")),
        ("password", json!("\u{10FFFF}".repeat(10_000))),
        ("password", json!([[[[PASSWORD]]]])),
    ] {
        let mut body = good.clone();
        body[field] = value;
        bodies.push(body.to_string().into_bytes());
    }
    bodies
}

async fn malformed_bodies_cause_no_5xx(store: Store) {
    let app = TestApp::start(store).await;
    let types = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
    for body in bodies() {
        for path in ["/auth/signup", "/auth/login/access-token"] {
            for content_type in types {
                let answer = app.post(path).body(content_type, body.clone()).send().await;
                let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
                assert!(answer.status() < 500, "{path} {content_type} {shown:?}: {}", answer.text());
                assert!(!answer.text().contains(PASSWORD), "a password is shown: {}", answer.text());
            }
        }
    }
    assert_alive(&app, "zoe").await;
}

fn queries() -> Vec<String> {
    let values = [
        "",
        "-1",
        "0",
        "1",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "1e9",
        "NaN",
        "%00",
        "%FF",
        "nonsense",
        "%F0%9F%98%80",
        "'%20OR%201=1--",
        "$ne",
        "{}",
        "2026-13-45T99:99:99Z",
        "-9999-01-01T00:00:00Z",
    ];
    let events = ["after", "limit", "types", "stream", "actor", "from", "to", "wait"];
    let of = |path: &str, names: &[&str]| -> Vec<String> {
        let pairs =
            names.iter().flat_map(|name| values.iter().map(move |value| format!("{path}?{name}={value}")));
        pairs.collect()
    };
    let mut all = [of("/events", &events), of("/events/stream", &["after", "types"])].concat();
    for id in [
        "",
        ".",
        "..",
        "%2e%2e",
        "%00",
        "%FF",
        "nonsense",
        &"x".repeat(5000),
        "00000000-0000-0000-0000-000000000000",
    ] {
        all.extend([format!("/users/{id}"), format!("/users/{id}/roles/admin")]);
    }
    all.extend(["/events?after=1&after=2", "/events?&&&", "/events?="].map(str::to_owned));
    all
}

async fn malformed_queries_and_paths_cause_no_5xx(store: Store) {
    let app = TestApp::start(store).await;
    let admin: User = app.admin().await;
    for path in queries().iter().filter(|path| !path.ends_with("wait=1")) {
        let answer = admin.get(path).send().await;
        assert!(answer.status() < 500, "{path}: {}", answer.text());
    }
    assert_alive(&app, "zoe").await;
}

async fn aborted_connections_are_harmless(store: Store) {
    use tokio::io::AsyncWriteExt;
    let app = TestApp::start(store).await;
    for number in 0..50 {
        let body = credentials(&format!("hasty{number}")).to_string();
        let request = format!(
            "POST /api/v1/auth/signup HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = request.len() - if number % 2 == 0 { 0 } else { 10 };
        let mut stream = tokio::net::TcpStream::connect(app.address()).await.unwrap();
        stream.write_all(&request.as_bytes()[..sent]).await.unwrap();
    }
    assert_alive(&app, "zoe").await;
    let admin = app.admin().await;
    assert_no_gap(&admin.whole_log().await);
}

async fn idle_connections_do_not_block_others(store: Store) {
    use tokio::io::AsyncWriteExt;
    let app = TestApp::start(store).await;
    let mut idle = Vec::new();
    for number in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(app.address()).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"POST /api/v1/auth/signup HTTP/1.1\r\nHost: a\r\nContent-Le").await.unwrap();
        }
        idle.push(stream);
    }
    assert_alive(&app, "zoe").await;
}
