//! `GET /stats`: numbers of users and daily figures.

use aegis::config::LoginEventSetting;
use domain::{Role, UserCommand};
use serde_json::{Value, json};

use crate::support::{PASSWORD, Store, TestApp, User, on_both_stores};

on_both_stores! {
    daily_numbers_match_the_log
    failed_logins_are_counted_once
    invalid_days_and_positions_are_rejected
}

async fn stats(user: &User, query: &str, position: u64) -> Value {
    let request = user.get(&format!("/stats{query}")).header("Aegis-Min-Position", &position.to_string());
    request.send().await.expect(200).json()
}

fn totals(stats: &Value) -> [i64; 4] {
    ["registered", "active", "deactivated", "erased"].map(|name| stats[name].as_i64().unwrap())
}

async fn daily_numbers_match_the_log(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.login_events = LoginEventSetting::All).await;
    app.clock.set("2031-03-01T23:59:59Z".parse().unwrap());
    let auditor = app.user_with(Role::Auditor).await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    app.command(&ada.id, UserCommand::Deactivate { reason: None }).await;
    app.clock.set("2031-03-02T00:00:00Z".parse().unwrap());
    app.command(&bob.id, UserCommand::Deactivate { reason: None }).await;
    app.command(&ada.id, UserCommand::Reactivate { reason: None }).await;
    app.sign_up("carol").await;
    let head = app.head().await;
    let all = stats(&auditor, "", head).await;
    assert_eq!((totals(&all), &all["position"]), ([4, 3, 1, 0], &json!(head)), "{all}");
    let day = |day: &str, registered: u64, deactivated: u64, reactivated: u64, active: u64| {
        json!({"day": day, "registered": registered, "deactivated": deactivated, "reactivated": reactivated,
            "erased": 0, "active": active, "logins": registered, "failed_logins": 0})
    };
    let (first, second) = (day("2031-03-01", 3, 1, 0, 2), day("2031-03-02", 1, 1, 1, 3));
    assert_eq!(all["days"], json!([first, second]));
    for (query, days) in [
        ("?from=2031-03-02", json!([second])),
        ("?to=2031-03-01", json!([first])),
        ("?from=2031-03-01&to=2031-03-02", json!([first, second])),
        ("?from=2031-03-03", json!([])),
    ] {
        let found = stats(&auditor, query, head).await;
        // The totals are those of the whole log, whichever days are requested.
        assert_eq!((&found["days"], totals(&found)), (&days, totals(&all)), "{query}");
    }
}

/// A spell of failures has one event at its beginning, and is counted by the login that ends it.
async fn failed_logins_are_counted_once(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.login_events = LoginEventSetting::All).await;
    let (auditor, ada) = (app.user_with(Role::Auditor).await, app.sign_up("ada").await);
    for _ in 0..3 {
        app.log_in(&ada.email, "wrong").await.expect(400);
    }
    app.log_in(&ada.email, PASSWORD).await.expect(200);
    let counted = stats(&auditor, "", app.head().await).await;
    let sum: i64 =
        counted["days"].as_array().unwrap().iter().map(|day| day["failed_logins"].as_i64().unwrap()).sum();
    assert_eq!(sum, 3, "{counted}");
}

async fn invalid_days_and_positions_are_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let auditor = app.user_with(Role::Auditor).await;
    for query in ["?from=yesterday", "?to=2026-11-31", "?from=2026-11-23T00:00:00Z", "?from="] {
        let refused = auditor.get(&format!("/stats{query}")).send().await.error_body(422);
        assert_eq!(refused["detail"][0]["type"], "date_parsing", "{refused}");
    }
    let ahead = auditor.get("/stats").header("Aegis-Min-Position", "1000000").send().await;
    assert_eq!(ahead.code(422), "validation_error");
}
