//! Personal data is stored in plain text in the rows of `users` only: not in the log, in no index key, in no
//! log output.

use serde_json::json;

use crate::support::{
    Store, TestApp, WebhookReceiver, captured_logs, contains_text, dump, on_both_stores, raw_bytes_without,
};

on_both_stores! {
    personal_data_is_stored_in_plain_text_only_in_user_rows
    personal_data_is_never_logged
}

/// Personal values that occur nowhere else.
const MARKERS: [&str; 8] = [
    "zyxmailmarker",
    "zyxnamemarker",
    "zyxpasswordmarker",
    "zyxreasonmarker",
    "zyxkeymarker",
    "zyxtokenmarker",
    "zyxwordsmarker",
    "zyxagentmarker",
];

fn with_logins(settings: &mut aegis::config::Settings) {
    settings.login_events = aegis::config::LoginEventSetting::All;
}

/// Uses every feature that accepts personal values: sign-up, login, rejections, deactivation with a reason.
async fn use_every_feature(app: &TestApp) {
    let admin = app.admin().await;
    let [mail, name, password, reason, key, token, words, agent] = MARKERS;
    let email = format!("{mail}@example.com");
    let body = json!({"email": email, "username": name, "password": password});
    let sign_up = app.post("/auth/signup").header("Idempotency-Key", key).json(&body);
    let signed_up = sign_up.send().await.expect(201).json();
    app.post("/auth/signup").json(&body).send().await.expect(400);
    app.post("/auth/signup")
        .json(&json!({"email": mail, "username": name, "password": [password]}))
        .send()
        .await
        .expect(422);
    app.post("/auth/signup").body("application/json", format!("{{{body}")).send().await.expect(422);
    app.post("/auth/signup").body("text/plain", body.to_string()).send().await.expect(422);
    let form = [("username", email.as_str()), ("password", password)];
    let login = || app.post("/auth/login/access-token").header("User-Agent", agent);
    login().form(&form).send().await.expect(200);
    login().form(&[form[0], ("password", "wrong")]).send().await.expect(400);
    app.log_in(&email, &format!("{password}!")).await.expect(400);
    app.log_in(name, password).await.expect(400);
    app.get(&format!("/nothing/{email}?password={password}")).send().await.expect(404);
    admin.get(&format!("/users/{email}")).send().await;
    admin.get(&format!("/events?actor={name}")).send().await;
    let path = format!("/users/{}/deactivate", signed_up["id"].as_str().unwrap());
    admin.post(&path).json(&json!({"reason": reason})).send().await.expect(200);
    app.log_in(&email, password).await.expect(400);
    // A webhook URL may contain credentials.
    let receiver = WebhookReceiver::start().await;
    let url = receiver.url("127.0.0.1").replace("hush", token);
    let webhook = admin.post("/webhooks").json(&json!({"url": url, "description": words, "after": 0}));
    let webhook = webhook.send().await.expect(201).json();
    receiver.wait_for_deliveries(1).await;
    admin.post(&format!("/webhooks/{}/test", webhook["id"].as_str().unwrap())).send().await.expect(200);
}

async fn personal_data_is_stored_in_plain_text_only_in_user_rows(store: Store) {
    let app = TestApp::start_with(store.clone(), with_logins).await;
    use_every_feature(&app).await;
    let dumped = dump(&store).await;
    let users = "users_1";
    let names: Vec<_> = dumped.iter().map(|(name, _)| name.as_str()).collect();
    let others = ["daily_1", "webhooks_1", "checkpoints", "read_models", "leases"];
    for expected in ["events", "head", "vault", "idempotency", "keys", "meta", users].iter().chain(&others) {
        assert!(names.contains(expected), "{expected} is not among {names:?}");
    }
    for (name, bytes) in &dumped {
        for marker in MARKERS {
            let belongs = name == users && (marker.contains("mail") || marker.contains("name"));
            assert_eq!(contains_text(bytes, marker), belongs, "{marker} in {name}");
        }
        assert_eq!(contains_text(bytes, "$argon2id$"), name == users, "a password hash in {name}");
    }
    app.stopped().await;
    if store.mongo_address().is_none() {
        let bytes = raw_bytes_without(&store, users);
        for marker in MARKERS.iter().chain(&["$argon2id$"]) {
            assert!(!contains_text(&bytes, marker), "{marker} is left in the raw file");
        }
        assert!(contains_text(&bytes, "userregistered"), "the events are in the raw file");
    }
}

async fn personal_data_is_never_logged(store: Store) {
    let app = TestApp::start_with(store, with_logins).await;
    use_every_feature(&app).await;
    let logs = captured_logs();
    assert!(logs.contains("request_id"), "nothing was captured: {logs}");
    for marker in MARKERS.iter().chain(&["$argon2id$"]) {
        let line = logs.lines().find(|line| line.to_ascii_lowercase().contains(marker));
        assert_eq!(line, None, "{marker} was logged");
    }
}
