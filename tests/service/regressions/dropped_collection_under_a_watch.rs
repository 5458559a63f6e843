//! A collection in use is dropped. Drivers have looped on the end of the change stream (RUST-2465), or
//! continued as if nothing were missing: then dropped rows make users look nonexistent.

use serde_json::{Value, json};

use crate::support::{
    PASSWORD, Store, TestApp, User, captured_logs, credentials, eventually, on_both_stores, on_one_store,
};

on_both_stores! {
    dropped_read_model_hides_no_user_and_is_rebuilt
    dropped_projection_checkpoints_are_detected
}

on_one_store! { mongo_alone:
    dropped_database_is_detected
}

/// The body of readiness once the service has noticed.
async fn unready(app: &TestApp) -> Value {
    let unready = async || Some(app.readiness().await).filter(|answer| answer.status() == 503);
    let body = eventually("the drop to be noticed", unready).await.json();
    app.get("/health").send().await.expect(200);
    body
}

async fn assert_recovers(app: &TestApp, users: &[&User]) {
    eventually("readiness", async || Some(app.readiness().await).filter(|answer| answer.status() == 200))
        .await;
    for user in users {
        app.me(&user.token).await.expect(200);
        app.log_in(&user.email, PASSWORD).await.expect(200);
    }
}

/// Readiness reads the database itself, and may notice the drop before the projector that logs it.
async fn assert_logged(name: &str) {
    let line = format!("`{name}` was dropped");
    eventually(&line, async || captured_logs().contains(&line).then_some(())).await;
}

async fn dropped_read_model_hides_no_user_and_is_rebuilt(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    app.store().drop_table("users_1").await;
    let body = unready(&app).await;
    assert!(["gone", "halted", "unknown"].contains(&body["users"].as_str().unwrap()), "{body}");
    assert_logged("users_1").await;
    for answer in [app.me(&ada.token).await, app.log_in(&bob.email, PASSWORD).await] {
        assert!([200, 500, 503].contains(&answer.status()), "a user looks nonexistent: {}", answer.text());
    }
    // Writes continue. The table is rebuilt from the start of the log and is never shown incomplete.
    app.post("/auth/signup").json(&credentials("carol")).send().await.expect(201);
    let seen = async || {
        let answers = [
            app.me(&ada.token).await,
            app.log_in("carol@example.com", PASSWORD).await,
            app.readiness().await,
        ];
        for answer in &answers {
            assert!([200, 500, 503].contains(&answer.status()), "{}", answer.text());
        }
        answers.iter().all(|answer| answer.status() == 200).then_some(())
    };
    eventually("the rows to be rebuilt", seen).await;
    assert_recovers(&app, &[&ada, &bob]).await;
    let restarted = app.start_second_node().await;
    assert_recovers(&restarted, &[&ada, &bob]).await;
    let dave = app.sign_up("dave").await;
    restarted.me(&dave.token).await.expect(200);
}

async fn dropped_projection_checkpoints_are_detected(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    app.store().drop_table("checkpoints").await;
    let body = unready(&app).await;
    assert_eq!(body["database"], "damaged", "{body}");
    assert_logged("checkpoints").await;
    app.me(&ada.token).await.expect(200);
    let restarted = app.start_second_node().await;
    assert_recovers(&restarted, &[&ada]).await;
    let bob = restarted.sign_up("bob").await;
    restarted.me(&bob.token).await.expect(200);
}

async fn dropped_database_is_detected() {
    let app = TestApp::start(Store::mongo().await).await;
    app.sign_up("ada").await;
    app.store().drop_everything().await;
    assert_eq!(unready(&app).await["database"], json!("damaged"));
    let refused = app.post("/auth/signup").json(&credentials("bob")).send().await;
    assert_eq!(refused.status(), 500, "{}", refused.text());
    assert_logged("events").await;
}
