//! Another process holds the write lock of the embedded database for longer than requests wait.

use std::time::{Duration, Instant};

use aegis::config::LoginEventSetting;
use futures::future::join_all;
use rusqlite::Connection;
use serde_json::json;

use crate::support::{PASSWORD, Store, TestApp, assert_no_gap, credentials, eventually, on_one_store};

on_one_store! { sqlite:
    write_that_was_not_begun_is_refused_for_certain_and_never_done_later
    login_that_cannot_be_recorded_is_refused
}

async fn write_that_was_not_begun_is_refused_for_certain_and_never_done_later() {
    let app = TestApp::start(Store::sqlite()).await;
    let admin = app.admin().await;
    let head = app.head().await;
    let other = Connection::open(app.store().file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = Instant::now();
    let names = ["ada", "bob", "cyd", "dan"];
    let sign_ups = names.map(|name| app.post("/auth/signup").json(&credentials(name)).send());
    for refused in join_all(sign_ups).await {
        assert_eq!(refused.code(503), "unavailable", "{}", refused.text());
        assert!((1..=60).contains(&refused.retry_after()), "{refused:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "the refusals took {:?}", started.elapsed());
    other.execute_batch("ROLLBACK").unwrap();

    // Whatever was queued at the time comes before this one.
    app.sign_up("eve").await;
    assert_eq!(app.head().await, head + 1);
    for name in names {
        app.post("/auth/signup").json(&credentials(name)).send().await.expect(201);
    }
    assert_no_gap(&admin.whole_log().await);
}

async fn login_that_cannot_be_recorded_is_refused() {
    let app =
        TestApp::start_with(Store::sqlite(), |settings| settings.login_events = LoginEventSetting::All).await;
    let ada = app.sign_up("ada").await;
    let other = Connection::open(app.store().file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Failures are recorded later.
    assert_eq!(app.log_in(&ada.email, "wrong").await.code(400), "invalid_credentials");
    let refused = app.log_in(&ada.email, PASSWORD).await;
    assert_eq!(refused.code(503), "unavailable", "{}", refused.text());
    other.execute_batch("ROLLBACK").unwrap();
    let logins = async || ada.get("/users/me/logins").send().await.expect(200).json()["logins"].clone();
    eventually("the failure", async || (logins().await.as_array()?.len() == 2).then_some(())).await;
    app.log_in(&ada.email, PASSWORD).await.expect(200);
    let newest = &logins().await[0];
    assert_eq!((&newest["succeeded"], &newest["failures"]), (&json!(true), &json!(1)));
}
