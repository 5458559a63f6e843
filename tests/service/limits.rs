//! Rate limits: failed logins of an account, password checks of a client, and the share of each client in the
//! hashing queue.

use aegis::config::Settings;
use axum::http::Request;
use domain::{Role, UserCommand};
use futures::future::join_all;
use serde_json::json;
use store::StreamId;
use tokio::net::TcpStream;

use crate::support::{
    Client, Deployment, PASSWORD, Response, Store, TestApp, email_of, eventually, on_both_stores,
    sign_up_request,
};

on_both_stores! {
    failures_delay_accounts_that_exist_and_others_alike
    success_resets_the_failures_of_an_account
    wrong_confirmations_count_as_failed_logins
    password_checks_of_one_address_are_limited
    flood_from_one_address_leaves_others_served
    one_connection_has_a_share_of_the_hashing_queue
    series_of_delays_is_recorded_once_and_ends_with_a_success
    administrator_unlocks_a_user
    running_node_follows_an_unlock_from_outside
    command_line_unlocks_a_user
    limits_can_be_turned_off
    sign_ups_and_webhook_registrations_are_limited
}

const WRONG: &str = "not the password";

/// Believes `X-Forwarded-For`, so that a test has many clients.
fn behind_proxy(settings: &mut Settings) {
    settings.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
}

async fn log_in_from(client: &Client, address: &str, email: &str, password: &str) -> Response {
    let login = client.post("/auth/login/access-token").header("X-Forwarded-For", address);
    login.form(&[("username", email), ("password", password)]).send().await
}

/// What a client sees of a refused login.
fn refusal(answer: &Response) -> (u16, String, [String; 3]) {
    let headers = ["Retry-After", "RateLimit", "RateLimit-Policy"].map(|name| answer.header(name).to_owned());
    (answer.status(), answer.json()["code"].as_str().unwrap().to_owned(), headers)
}

async fn failures_delay_accounts_that_exist_and_others_alike(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let ada = app.sign_up("ada").await;
    let mut seen = Vec::new();
    for email in ["Ada@Example.com ", "unknown@example.com", "no address"] {
        for failure in 1..=10 {
            assert_eq!(app.log_in(email, WRONG).await.code(400), "invalid_credentials", "{email} {failure}");
        }
        let refused = app.log_in(email, WRONG).await;
        assert_eq!(refused.code(429), "too_many_failures", "{email}");
        // Refused attempts do not prolong the delay, and the right password is refused as well.
        assert_eq!(refusal(&app.log_in(email, PASSWORD).await), refusal(&refused));
        let mut delays = vec![refused.retry_after()];
        for _ in 0..9 {
            let now = app.services().store.clock().now();
            let delay = std::time::Duration::from_secs(*delays.last().unwrap());
            app.clock.set(now + delay);
            app.log_in(email, WRONG).await.expect(400);
            delays.push(app.log_in(email, WRONG).await.expect(429).retry_after());
        }
        assert!(delays.is_sorted() && delays[0] < delays[1], "{delays:?}");
        assert_eq!(delays.last(), Some(&900), "{delays:?}");
        seen.push((refusal(&refused), delays));
    }
    assert!(seen.iter().all(|other| *other == seen[0]), "{seen:?}");
    // Tokens are unaffected.
    app.me(&ada.token).await.expect(200);
}

async fn success_resets_the_failures_of_an_account(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let ada = app.sign_up("ada").await;
    for _ in 0..3 {
        for _ in 0..9 {
            app.log_in(&ada.email, WRONG).await.expect(400);
        }
        app.log_in(&ada.email, PASSWORD).await.expect(200);
    }
}

async fn wrong_confirmations_count_as_failed_logins(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let ada = app.sign_up("ada").await;
    for _ in 0..10 {
        let wrong = ada.post("/users/me/deactivate").json(&json!({"password": WRONG})).send().await;
        assert_eq!(wrong.code(400), "wrong_password");
    }
    let refused = ada.post("/users/me/deactivate").json(&json!({"password": PASSWORD})).send().await;
    assert_eq!(refused.code(429), "too_many_failures");
    let refused = ada.delete("/users/me").json(&json!({"password": PASSWORD})).send().await;
    assert_eq!(refused.code(429), "too_many_failures");
    app.log_in(&ada.email, PASSWORD).await.expect(429);
}

/// Sends logins to distinct accounts until one is refused; returns how many were not, and the refusal.
async fn until_refused(app: &TestApp, address: impl Fn(usize) -> String) -> (usize, Response) {
    for number in 0..1000 {
        let email = email_of(&format!("user{number}"));
        let answer = log_in_from(app, &address(number), &email, WRONG).await;
        if answer.status() != 400 {
            return (number, answer);
        }
    }
    panic!("a thousand logins were accepted");
}

async fn password_checks_of_one_address_are_limited(store: Store) {
    let app = TestApp::start_with(store, behind_proxy).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let (accepted, refused) = until_refused(&app, |_| "198.51.100.1".to_owned()).await;
    assert_eq!((accepted, refused.code(429).as_str()), (300, "rate_limited"));
    assert!((1..=60).contains(&refused.retry_after()), "{refused:?}");
    assert_eq!(refused.header("RateLimit-Policy"), "\"password-checks\";q=300;w=60");
    assert!(refused.header("RateLimit").starts_with("\"password-checks\";r=0;t="), "{refused:?}");
    // Sign-ups are refused too, and other clients are served.
    let sign_up = sign_up_request(&app, "ada").header("X-Forwarded-For", "198.51.100.1").send().await;
    assert_eq!(sign_up.code(429), "rate_limited");
    log_in_from(&app, "198.51.100.2", &email_of("ada"), WRONG).await.expect(400);
    // Addresses of one IPv6 network of 64 bits are one client.
    let (accepted, _) = until_refused(&app, |number| format!("2001:db8:0:7::{number:x}")).await;
    assert_eq!(accepted, 300);
    log_in_from(&app, "2001:db8:0:8::1", &email_of("ada"), WRONG).await.expect(400);
}

async fn flood_from_one_address_leaves_others_served(store: Store) {
    let app = TestApp::start_with(store, |settings| {
        behind_proxy(settings);
        (settings.passwords.threads, settings.passwords.queue) = (1, 16);
        (settings.passwords.memory_kib, settings.passwords.iterations) = (4096, 4);
    })
    .await;
    let client: Client = (*app).clone();
    let flood = tokio::spawn(async move {
        let attempts = (0..250).map(|number| {
            let client = client.clone();
            async move {
                let email = email_of(&format!("flood{number}"));
                log_in_from(&client, "198.51.100.1", &email, WRONG).await.status()
            }
        });
        join_all(attempts).await
    });
    for number in 0..12 {
        let answer =
            log_in_from(&app, &format!("203.0.113.{number}"), &email_of(&format!("user{number}")), WRONG)
                .await;
        assert_eq!(answer.code(400), "invalid_credentials", "honest login no. {number}");
    }
    let flooded = flood.await.unwrap();
    let busy = flooded.iter().filter(|status| **status == 503).count();
    assert!(busy > 100 && flooded.iter().all(|status| [400, 503].contains(status)), "{flooded:?}");
}

async fn one_connection_has_a_share_of_the_hashing_queue(store: Store) {
    let app = TestApp::start_with(store, |settings| {
        settings.passwords.threads = 1;
        (settings.passwords.memory_kib, settings.passwords.iterations) = (4096, 4);
    })
    .await;
    let stream = TcpStream::connect(app.address()).await.unwrap();
    let (http2, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    // As many as one connection may have in progress.
    let attempts = (0..32).map(|number| {
        let http2 = http2.clone();
        let uri = format!("http://{}/api/v1/auth/login/access-token", app.address());
        async move {
            let request = Request::post(uri).header("Content-Type", "application/x-www-form-urlencoded");
            let mut http2 = http2.ready().await.unwrap();
            let (answer, mut body) = http2.send_request(request.body(()).unwrap(), false).unwrap();
            body.send_data(format!("username=user{number}%40example.com&password=wrong").into(), true)
                .unwrap();
            answer.await.unwrap().status().as_u16()
        }
    });
    let statuses = join_all(attempts).await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert!(count(429) >= 16 && count(400) >= 8 && count(429) + count(400) == 32, "{statuses:?}");
}

/// Fails logins until the account is delayed.
async fn lock(app: &Client, email: &str) {
    for _ in 0..10 {
        app.log_in(email, WRONG).await.expect(400);
    }
    app.log_in(email, PASSWORD).await.expect(429);
}

/// The types of the events of a user, from the log.
async fn types_of(app: &TestApp, id: &str) -> Vec<String> {
    let stream = StreamId::new(format!("user-{id}")).unwrap();
    let events = app.services().store.read_stream(&stream).await.unwrap();
    events.into_iter().map(|event| event.envelope.event_type).collect()
}

async fn wait_for_types(app: &TestApp, id: &str, expected: &[&str]) {
    eventually("the events of the user", async || (types_of(app, id).await == expected).then_some(())).await;
}

async fn series_of_delays_is_recorded_once_and_ends_with_a_success(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let ada = app.sign_up("ada").await;
    lock(&app, &ada.email).await;
    wait_for_types(&app, &ada.id, &["UserRegistered", "UserLocked"]).await;
    app.clock.set("2026-11-22T08:00:10Z".parse().unwrap());
    app.log_in(&ada.email, WRONG).await.expect(400);
    app.clock.set("2026-11-22T08:00:30Z".parse().unwrap());
    let token = app.token_of(&ada.email).await;
    wait_for_types(&app, &ada.id, &["UserRegistered", "UserLocked", "UserUnlocked"]).await;
    // No token is affected, from before, from in between or from afterwards.
    for token in [&ada.token, &token, &app.token_of(&ada.email).await] {
        app.me(token).await.expect(200);
    }
    lock(&app, &ada.email).await;
    wait_for_types(&app, &ada.id, &["UserRegistered", "UserLocked", "UserUnlocked", "UserLocked"]).await;
    // Failures with addresses that no user has leave nothing in the log.
    let before = app.head().await;
    lock(&app, "unknown@example.com").await;
    assert_eq!(app.head().await, before);
}

async fn administrator_unlocks_a_user(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    lock(&app, &ada.email).await;
    wait_for_types(&app, &ada.id, &["UserRegistered", "UserLocked"]).await;
    let path = format!("/users/{}/unlock", ada.id);
    ada.post(&path).send().await.expect(403);
    admin.post("/users/00000000-0000-7000-8000-000000000000/unlock").send().await.expect(404);
    let stale = admin.post(&path).header("If-Match", "\"1\"").send().await;
    assert_eq!(stale.code(412), "version_mismatch");
    let unlock = || admin.post(&path).header("If-Match", "\"2\"").header("Idempotency-Key", "unlock-ada");
    let unlocked = unlock().send().await.expect(200);
    assert_eq!((unlocked.json()["id"].as_str(), unlocked.header("ETag")), (Some(ada.id.as_str()), "\"3\""));
    app.log_in(&ada.email, PASSWORD).await.expect(200);
    let again = unlock().send().await.expect(200);
    assert_eq!(again.position(), unlocked.position());
    admin.post(&path).send().await.expect(200);
    assert_eq!(types_of(&app, &ada.id).await, ["UserRegistered", "UserLocked", "UserUnlocked"]);
    app.me(&ada.token).await.expect(200);
    let history = admin.get(&format!("/users/{}/events", ada.id)).send().await.expect(200).json();
    let changes = json!([{"field": "is_locked", "from": false, "to": true}]);
    assert_eq!(history["events"][1]["changes"], changes);
}

async fn running_node_follows_an_unlock_from_outside(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    lock(&app, &ada.email).await;
    wait_for_types(&app, &ada.id, &["UserRegistered", "UserLocked"]).await;
    // As the command line and other nodes do.
    app.command(&ada.id, UserCommand::Unlock).await;
    eventually("the login", async || (app.log_in(&ada.email, PASSWORD).await.status() == 200).then_some(()))
        .await;
}

async fn command_line_unlocks_a_user(store: Store) {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    let client = service.client();
    sign_up_request(client, "ada").send().await.expect(201);
    let email = email_of("ada");
    let idle = deployment.run_ok(&["users", "unlock", &email]).await;
    assert!(idle.stdout.contains("is not locked"), "{idle:?}");
    lock(client, &email).await;
    let unlocked = eventually("the unlock", async || {
        let done = deployment.run_ok(&["users", "unlock", &email]).await;
        done.stdout.contains("is unlocked").then_some(done)
    })
    .await;
    assert!(unlocked.stdout.contains(&email), "{unlocked:?}");
    eventually("the login", async || (client.log_in(&email, PASSWORD).await.status() == 200).then_some(()))
        .await;
}

async fn limits_can_be_turned_off(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let ada = app.sign_up("ada").await;
    for _ in 0..310 {
        app.log_in(&ada.email, WRONG).await.expect(400);
    }
    app.log_in(&ada.email, PASSWORD).await.expect(200);
    assert_eq!(types_of(&app, &ada.id).await, ["UserRegistered"]);
}

async fn sign_ups_and_webhook_registrations_are_limited(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let owner = app.user_with(Role::Subscriber).await;
    let mut statuses = Vec::new();
    for _ in 0..151 {
        // Refused for its address, after it was counted.
        let body = json!({"url": "https://10.0.0.1/events"});
        statuses.push(owner.post("/webhooks").json(&body).send().await.status());
    }
    assert!(statuses.iter().take(150).all(|status| *status == 422), "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
    let mut signed_up = 1;
    let refused = loop {
        let answer = sign_up_request(&app, &format!("user{signed_up}")).send().await;
        if answer.status() != 201 {
            break answer;
        }
        signed_up += 1;
    };
    assert_eq!((signed_up, refused.code(429).as_str()), (200, "rate_limited"));
    assert_eq!(refused.header("RateLimit-Policy"), "\"sign-ups\";q=200;w=180");
    app.log_in(&owner.email, PASSWORD).await.expect(200);
}
