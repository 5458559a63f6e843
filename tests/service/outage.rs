//! Outages of MongoDB: requests are rejected in time, and the service recovers without a restart.

use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::doc;
use serde_json::json;
use store::Position;
use testkit::{MongodServer, reserve_port};

use crate::support::{
    DEFAULT_TIMEOUT, PASSWORD, Response, Store, TestApp, assert_no_gap, credentials, eventually, on_one_store,
};

on_one_store! { mongo:
    service_starts_without_the_database_and_recovers
    service_survives_the_death_of_its_database
    write_with_idempotency_key_is_answered_in_time_when_the_database_hangs
}

#[track_caller]
fn assert_rejected_in_time(answer: &Response, started: Instant, codes: &[&str]) {
    assert!(started.elapsed() < Duration::from_secs(10), "the refusal took {:?}", started.elapsed());
    let code = answer.code(503);
    assert!(codes.contains(&code.as_str()), "{}", answer.text());
    assert!((1..=60).contains(&answer.retry_after()), "{answer:?}");
    assert!(!answer.text().contains("127.0.0.1"), "an address is shown: {}", answer.text());
}

/// Asserts that the service is alive but reports that it is not ready.
async fn assert_unready(app: &TestApp) {
    let health = app.get("/health").send().await.expect(200);
    assert_eq!(health.json(), json!({"status": "ok", "message": "API is healthy"}));
    let unready = app.readiness().await.expect(503).text();
    assert!(unready.contains("database"), "{unready}");
}

async fn assert_recovers(app: &TestApp, name: &str) {
    eventually("readiness", async || Some(app.readiness().await).filter(|answer| answer.status() == 200))
        .await;
    let user = app.sign_up(name).await;
    user.get("/users/me").send().await.expect(200);
}

async fn service_starts_without_the_database_and_recovers() {
    let port = reserve_port();
    let app = TestApp::start_without_waiting(Store::on_port(port)).await;
    assert_unready(&app).await;
    let started = Instant::now();
    let refused = app.post("/auth/signup").json(&credentials("ada")).send().await;
    assert_rejected_in_time(&refused, started, &["starting", "unavailable"]);
    let started = Instant::now();
    let refused = app.log_in("ada@example.com", PASSWORD).await;
    assert_rejected_in_time(&refused, started, &["starting", "unavailable"]);
    let _server = MongodServer::replica_set_on(port).await;
    assert_recovers(&app, "ada").await;
}

async fn service_survives_the_death_of_its_database() {
    let mut server = MongodServer::replica_set().await;
    let app = TestApp::start(Store::at(&server.url())).await;
    let known = app.sign_up("known").await;
    server.kill();
    // Concurrently: each is answered within ten seconds.
    let started = Instant::now();
    let sign_up = app.post("/auth/signup").json(&credentials("ada")).send();
    let (sign_up, login, me) =
        tokio::join!(sign_up, app.log_in(&known.email, PASSWORD), app.me(&known.token));
    assert_rejected_in_time(&sign_up, started, &["unavailable", "outcome_unknown"]);
    assert_rejected_in_time(&login, started, &["unavailable"]);
    assert_rejected_in_time(&me, started, &["unavailable"]);
    eventually("unreadiness", async || Some(app.readiness().await).filter(|answer| answer.status() == 503))
        .await;
    assert_unready(&app).await;
    server.restart().await;
    assert_recovers(&app, "bob").await;
    known.get("/users/me").send().await.expect(200);
    app.log_in(&known.email, PASSWORD).await.expect(200);
    let again = app.post("/auth/signup").json(&credentials("ada")).send().await;
    assert!([201, 400].contains(&again.status()), "{}", again.text());
    let log = app.admin().await.whole_log().await;
    assert_no_gap(&log);
}

async fn write_with_idempotency_key_is_answered_in_time_when_the_database_hangs() {
    let server = MongodServer::replica_set().await;
    let app = TestApp::start(Store::at(&server.url())).await;
    // Afterwards no transaction but that of the sign-up commits.
    app.sign_up("known").await;
    let (store, head) = (&app.services().store, Position::new(app.head().await));
    for read_model in projections::all() {
        assert!(store.wait_until_applied(&read_model.table(1).name, head, DEFAULT_TIMEOUT).await);
    }
    let admin = Client::with_uri_str(server.url()).await.unwrap().database("admin");
    // The commit is delayed until the server hangs.
    let commits =
        doc! { "failCommands": ["commitTransaction"], "blockConnection": true, "blockTimeMS": 60_000 };
    let hold = doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": commits };
    let entered = admin.run_command(hold).await.unwrap().get_i32("count").unwrap();
    let started = Instant::now();
    let sign_up = app.post("/auth/signup").json(&credentials("ada")).header("Idempotency-Key", "ada");
    let sign_up = tokio::spawn(sign_up.send());
    let hit = doc! { "waitForFailPoint": "failCommand", "timesEntered": entered + 1, "maxTimeMS": 30_000 };
    admin.run_command(hit).await.unwrap();
    server.pause();
    // Its outcome cannot be looked up either, and the service does not wait for that.
    assert_rejected_in_time(&sign_up.await.unwrap(), started, &["outcome_unknown"]);
    server.resume();
}
