//! Common response headers: request ids, caching, sniffing, positions and read-your-writes.

use reqwest::Method;
use serde_json::json;
use store::{EventQuery, Position};

use crate::support::{
    PASSWORD, Response, Store, TestApp, User, captured_logs, credentials, eventually, on_both_stores,
};

on_both_stores! {
    log_lines_of_a_request_carry_its_id
    every_response_has_a_request_id
    valid_request_id_is_adopted_and_an_invalid_one_replaced
    client_address_is_taken_from_a_trusted_proxy
    responses_forbid_sniffing_and_caching
    writes_return_their_position
    read_waits_for_the_minimum_position
    invalid_minimum_position_is_rejected
    login_accepts_a_minimum_position
}

/// One response of each kind.
async fn answers(app: &TestApp, user: &User) -> Vec<Response> {
    vec![
        app.get("/health").send().await.expect(200),
        app.request_at_root(Method::GET, "/").send().await.expect(200),
        app.readiness().await.expect(200),
        app.get("/openapi.json").send().await.expect(200),
        user.get("/users/me").send().await.expect(200),
        app.log_in(&user.email, PASSWORD).await.expect(200),
        app.log_in(&user.email, "wrong").await.expect(400),
        app.get("/users/me").send().await.expect(401),
        user.get("/events").send().await.expect(403),
        app.get("/nothing").send().await.expect(404),
        app.get("/auth/signup").send().await.expect(405),
        app.post("/auth/signup").json(&json!({})).send().await.expect(422),
        app.post("/auth/signup").json(&"x".repeat(70_000)).send().await.expect(413),
        app.request(Method::OPTIONS, "/auth/signup").header("Origin", "https://app.example").send().await,
    ]
}

async fn every_response_has_a_request_id(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    let mut seen = std::collections::BTreeSet::new();
    for answer in answers(&app, &user).await {
        let id = answer.header("X-Request-Id").to_owned();
        assert!(!id.is_empty(), "{answer:?}");
        assert!(seen.insert(id), "a request id comes twice: {answer:?}");
    }
}

async fn valid_request_id_is_adopted_and_an_invalid_one_replaced(store: Store) {
    let app = TestApp::start(store).await;
    let taken = "0193e2b4-0000-7000-8000-00000000000a";
    for good in [taken, &taken.to_uppercase()] {
        let answer = app.get("/nothing").header("X-Request-Id", good).send().await;
        assert_eq!(answer.header("X-Request-Id"), taken);
        assert_eq!(answer.json()["request_id"], taken);
    }
    for bad in ["", "a b", "a\"b", "<script>", "a,b", "ada.lovelace", &"x".repeat(1000)] {
        let answer = app.get("/nothing").header("X-Request-Id", bad).send().await;
        assert_ne!(answer.header("X-Request-Id"), bad);
        assert!(!answer.header("X-Request-Id").is_empty());
        answer.error_body(404);
    }
    let admin = app.admin().await;
    let signed_up = app.post("/auth/signup").header("X-Request-Id", "ada.lovelace").json(&credentials("ada"));
    let made = signed_up.send().await.expect(201).header("X-Request-Id").to_owned();
    let logged = admin.whole_log().await;
    assert_eq!(logged.last().unwrap()["type"], "UserRegistered");
    // The id is stored in the log permanently.
    let position = Position::new(logged.last().unwrap()["position"].as_u64().unwrap() - 1);
    let query = EventQuery { after: position, limit: 1, ..EventQuery::default() };
    let events = app.services().store.read(&query).await.unwrap();
    assert_eq!(events[0].envelope.request_id, made);
}

async fn log_lines_of_a_request_carry_its_id(store: Store) {
    let app = TestApp::start(store).await;
    let answer = app.post("/auth/signup/").json(&credentials("ada")).send().await.expect(201);
    let id = answer.header("X-Request-Id").to_owned();
    let line = eventually("the line", async || {
        let logs = captured_logs();
        let mut lines = logs.lines().filter(|line| line.contains(&format!("request_id=\"{id}\"")));
        lines.find(|line| line.contains("request completed")).map(str::to_owned)
    });
    let line = line.await;
    for field in ["method=POST", "route=\"/api/v1/auth/signup\"", "status=201", "ms="] {
        assert!(line.contains(field), "{field} in {line}");
    }
    let logs = captured_logs();
    let mut lines = logs.lines().filter(|line| line.contains("batch of appends completed"));
    let commit = lines.find(|line| line.contains(&id)).expect("the commit is logged");
    assert!(commit.contains(&format!("commit{{request_id=\"{id}\" appends=1 events=1}}")), "{commit}");
}

async fn client_address_is_taken_from_a_trusted_proxy(store: Store) {
    let seen = async |app: &TestApp, line: &str| {
        let answer = app.post("/auth/signup").header("X-Forwarded-For", line).json(&json!({})).send().await;
        let id = answer.header("X-Request-Id").to_owned();
        eventually("the printed line", async || {
            let logs = captured_logs();
            let mut lines = logs.lines().filter(|line| line.contains(&id));
            let (_, client) = lines.find_map(|line| line.split_once("client="))?;
            client.split(' ').next().map(str::to_owned)
        })
        .await
    };
    let app = TestApp::start(store.clone()).await;
    assert_eq!(seen(&app, "198.51.100.7").await, "127.0.0.1");
    let behind = TestApp::start_with(store, |settings| {
        settings.http.trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"].map(|one| one.parse().unwrap()).into();
    });
    let app = behind.await;
    assert_eq!(seen(&app, "192.0.2.1, 198.51.100.7, 10.0.0.5").await, "198.51.100.7");
    assert_eq!(seen(&app, "nonsense").await, "127.0.0.1");
}

async fn responses_forbid_sniffing_and_caching(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    for answer in answers(&app, &user).await {
        assert_eq!(answer.header("X-Content-Type-Options"), "nosniff", "{answer:?}");
    }
    let admin = app.admin().await;
    for answer in [
        app.post("/auth/signup").json(&credentials("bob")).send().await.expect(201),
        app.post("/auth/signup").json(&credentials("bob")).send().await.expect(400),
        app.post("/auth/signup").json(&json!({"email": "x"})).send().await.expect(422),
        app.log_in(&user.email, PASSWORD).await.expect(200),
        app.log_in(&user.email, "wrong").await.expect(400),
        user.get("/users/me").send().await.expect(200),
        user.get("/events").send().await.expect(403),
        admin.get(&format!("/users/{}", user.id)).send().await.expect(200),
        admin.get("/events").send().await.expect(200),
        admin.deactivate(&user.id).send().await.expect(200),
    ] {
        assert_eq!(answer.header("Cache-Control"), "no-store", "{answer:?}");
    }
}

async fn writes_return_their_position(store: Store) {
    let app = TestApp::start(store).await;
    let first = app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201).position();
    let second = app.post("/auth/signup").json(&credentials("bob")).send().await.expect(201).position();
    assert_eq!((first, second), (1, 2));
    let admin = app.admin().await;
    let user = app.sign_up("eve").await;
    let deactivated = admin.deactivate(&user.id).send().await.expect(200).position();
    let head = admin.get("/events").send().await.expect(200).json()["head"].as_u64().unwrap();
    assert_eq!(deactivated, head);
    assert_eq!(admin.look_up(&user.id).await["position"], head);
}

async fn read_waits_for_the_minimum_position(store: Store) {
    let app = TestApp::start(store).await;
    let other = app.start_second_node().await;
    let user = app.sign_up("ada").await;
    // Read-your-writes across nodes.
    let admin = app.admin().await.at(&other);
    for round in 0..10 {
        let action = if round % 2 == 0 { admin.deactivate(&user.id) } else { admin.reactivate(&user.id) };
        let position = action.send().await.expect(200).position().to_string();
        let seen = app.get(&format!("/users/{}", user.id)).bearer(&admin.token);
        let seen = seen.header("Aegis-Min-Position", &position).send().await.expect(200).json();
        assert_eq!(seen["is_active"], json!(round % 2 == 1), "round {round}");
        let status = if round % 2 == 0 { 400 } else { 200 };
        let form = [("username", user.email.as_str()), ("password", PASSWORD)];
        let login = app.post("/auth/login/access-token").header("Aegis-Min-Position", &position);
        login.form(&form).send().await.expect(status);
    }
}

async fn invalid_minimum_position_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    for good in ["0", "1"] {
        user.get("/users/me").header("Aegis-Min-Position", good).send().await.expect(200);
    }
    for bad in ["2", "18446744073709551615", "9223372036854775808", "x", "-1", "1.5", "", "1 2", "0x1", "１"]
    {
        let answer = user.get("/users/me").header("Aegis-Min-Position", bad).send().await;
        let body = answer.error_body(422);
        assert!(body["code"].is_string() && !body["detail"].is_null(), "{bad}: {body}");
    }
}

async fn login_accepts_a_minimum_position(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    let form = [("username", user.email.as_str()), ("password", PASSWORD)];
    for (position, status) in [("1", 200), ("2", 422), ("x", 422)] {
        let login = app.post("/auth/login/access-token").header("Aegis-Min-Position", position);
        login.form(&form).send().await.expect(status);
    }
}
