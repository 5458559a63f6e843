//! Logins that open a session, and how long and how many sessions last.

use aegis::config::LoginEventSetting;
use jiff::SignedDuration;
use serde_json::json;

use super::{Tokens, assert_ended, assert_open, events_of, log_in, open, refresh, refreshed, user_of};
use crate::support::{PASSWORD, Store, TestApp, on_both_stores};

on_both_stores! {
    login_without_the_scope_is_that_of_the_legacy_service
    session_is_opened_by_the_scope_at_both_endpoints
    fields_of_the_login_give_no_session_of_choice
    errors_of_the_token_endpoint_are_those_of_oauth
    sessions_expire_when_idle_and_in_the_end
    sessions_of_a_user_are_bounded
    logins_of_a_user_are_limited
}

async fn login_without_the_scope_is_that_of_the_legacy_service(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    for form in [
        vec![("username", &*ada.email), ("password", PASSWORD)],
        vec![("username", &*ada.email), ("password", PASSWORD), ("scope", "profile offline_accessory")],
    ] {
        let answer = app.post("/auth/login/access-token").form(&form).send().await.expect(200).json();
        let fields: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["access_token", "expires_in", "token_type"]);
        assert_eq!(answer["expires_in"], 604_800);
    }
    let sessions = ada.get("/users/me/sessions").send().await.expect(200).json();
    assert_eq!(sessions, json!({"sessions": []}));
}

async fn session_is_opened_by_the_scope_at_both_endpoints(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let form = [("username", &*ada.email), ("password", PASSWORD), ("scope", "offline_access")];
    let legacy = app.post("/auth/login/access-token").form(&form).send().await.expect(200);
    let standard = log_in(&app, &ada.email, PASSWORD).await.expect(200);
    for answer in [&legacy, &standard] {
        assert_eq!(answer.header("Cache-Control"), "no-store");
        let body = answer.json();
        assert_eq!((&body["expires_in"], &body["scope"]), (&json!(900), &json!("offline_access")));
        let remaining = body["refresh_expires_in"].as_i64().unwrap();
        assert!((30 * 24 * 3600 - 60..=30 * 24 * 3600).contains(&remaining), "{remaining}");
        assert_open(&app, &Tokens::of(&body), "new").await;
    }
    let wrong = log_in(&app, &ada.email, "wrong").await;
    assert_eq!(
        (wrong.code(400), &wrong.json()["error"]),
        ("invalid_credentials".to_owned(), &json!("invalid_grant"))
    );
    let admin = app.admin().await;
    let events = events_of(&admin, &ada).await;
    assert_eq!(events.len(), 1, "opening a session is no event: {events:?}");
}

/// Session fixation: a client cannot choose the session that a login opens.
async fn fields_of_the_login_give_no_session_of_choice(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let planted = open(&app, &eve.email).await;
    let sessions = user_of(&eve, &planted).get("/users/me/sessions").send().await.expect(200).json();
    let id = sessions["sessions"][0]["id"].as_str().unwrap();
    let form = [
        ("grant_type", "password"),
        ("username", &ada.email),
        ("password", PASSWORD),
        ("scope", "offline_access"),
        ("sid", id),
        ("session", id),
        ("session_id", id),
        ("refresh_token", &planted.refresh),
    ];
    let answer = app.post("/auth/token").bearer(&planted.access).form(&form).send().await.expect(200).json();
    let victim = Tokens::of(&answer);
    let listed = user_of(&ada, &victim).get("/users/me/sessions").send().await.expect(200).json();
    assert_ne!(listed["sessions"][0]["id"], id);
    assert_eq!(app.me(&planted.access).await.expect(200).json()["id"], eve.id.as_str());
    assert_eq!(
        app.me(&refreshed(&app, &planted).await.access).await.expect(200).json()["id"],
        eve.id.as_str()
    );
}

async fn errors_of_the_token_endpoint_are_those_of_oauth(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    for (form, error) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", "")], "invalid_request"),
        (vec![("grant_type", "client_credentials")], "unsupported_grant_type"),
        (vec![("grant_type", "refresh_token")], "invalid_request"),
        (vec![("grant_type", "password"), ("username", &*ada.email)], "invalid_request"),
        (vec![("grant_type", "password"), ("password", PASSWORD)], "invalid_request"),
    ] {
        let answer = app.post("/auth/token").form(&form).send().await;
        let body = answer.error_body(400);
        assert_eq!((&body["error"], &body["code"]), (&json!(error), &json!(error)), "{form:?}");
        assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        assert!(!answer.text().contains(PASSWORD));
    }
    let json = app.post("/auth/token").json(&json!({"grant_type": "password"})).send().await;
    assert_eq!(json.code(400), "invalid_request");
    let revoke = app.post("/auth/revoke").form(&[("token", "")]).send().await;
    assert_eq!(revoke.error_body(400)["error"], "invalid_request");
}

async fn sessions_expire_when_idle_and_in_the_end(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let day = SignedDuration::from_hours(24);
    let start = "2026-11-22T08:00:00Z".parse::<jiff::Timestamp>().unwrap();
    app.clock.set(start);
    let (idle, mut used) = (open(&app, &ada.email).await, open(&app, &ada.email).await);
    for days in [29, 58, 87] {
        app.clock.set(start + day * days);
        let answer = refresh(&app, &used.refresh).await.expect(200).json();
        let remaining = (90 - days).min(30) * 24 * 3600;
        assert_eq!(answer["refresh_expires_in"], remaining, "after {days} days");
        used = Tokens::of(&answer);
    }
    assert_eq!(refresh(&app, &idle.refresh).await.code(400), "invalid_grant");
    // Shortly before the end, its access token is not valid for longer.
    app.clock.set(start + day * 90 - SignedDuration::from_secs(60));
    let last = refresh(&app, &used.refresh).await.expect(200).json();
    assert_eq!((&last["expires_in"], &last["refresh_expires_in"]), (&json!(60), &json!(60)));
    app.clock.set(start + day * 90);
    assert_ended(&app, &Tokens::of(&last), "expired").await;
}

async fn sessions_of_a_user_are_bounded(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let ada = app.sign_up("ada").await;
    let oldest = open(&app, &ada.email).await;
    let second = open(&app, &ada.email).await;
    for _ in 2..100 {
        open(&app, &ada.email).await;
    }
    let oldest = refreshed(&app, &oldest).await;
    let newest = open(&app, &ada.email).await;
    assert_open(&app, &oldest, "it was used").await;
    assert_ended(&app, &second, "it was used longest ago").await;
    let listed = user_of(&ada, &newest).get("/users/me/sessions").send().await.expect(200).json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 100);
}

/// Each login can end in an event of the user's stream, which nothing shortens.
async fn logins_of_a_user_are_limited(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.login_events = LoginEventSetting::All).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    for _ in 0..60 {
        let session = open(&app, &ada.email).await;
        user_of(&ada, &session).post("/auth/logout").send().await.expect(204);
    }
    let head = app.head().await;
    let refused = log_in(&app, &ada.email, PASSWORD).await;
    assert_eq!(refused.code(429), "rate_limited");
    assert_eq!(refused.header("RateLimit-Policy"), "\"sessions\";q=60;w=3600");
    assert_eq!((refused.retry_after(), app.head().await), (60, head), "no event");
    log_in(&app, &ada.email, "not the password").await.expect(400);
    open(&app, &bob.email).await;
    app.clock.set("2026-11-22T08:01:00Z".parse().unwrap());
    open(&app, &ada.email).await;
    log_in(&app, &ada.email, PASSWORD).await.expect(429);
    // Without a session.
    app.clock.set("2026-11-22T09:00:00Z".parse().unwrap());
    let mut accepted = 0;
    let refused = loop {
        let answer = app.log_in(&bob.email, PASSWORD).await;
        if answer.status() != 200 {
            break answer;
        }
        accepted += 1;
        // The limit of the address is another one.
        let later = app.services().store.clock().now() + SignedDuration::from_millis(200);
        app.clock.set(later);
    };
    assert_eq!(refused.header("RateLimit-Policy"), "\"logins\";q=300;w=3600");
    assert!((300..=310).contains(&accepted), "{accepted}");
}
