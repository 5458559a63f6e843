//! Refresh tokens: each is used once, a lost answer can be asked for again, and a copy ends the session.

use futures::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Tokens, assert_ended, assert_open, events_of, open, refresh, refreshed, user_of};
use crate::support::{Store, TestApp, captured_logs, on_both_stores, sign_token};

on_both_stores! {
    refresh_gives_new_tokens_and_uses_up_the_old_one
    parallel_refreshes_give_the_same_successor
    reuse_after_the_window_ends_the_session
    reuse_of_an_older_token_ends_the_session_at_once
    forged_and_foreign_refresh_tokens_are_refused
    tokens_of_another_purpose_are_refused
    refreshes_are_limited_by_address
}

async fn refresh_gives_new_tokens_and_uses_up_the_old_one(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let first = open(&app, &ada.email).await;
    let mut tokens = first.clone();
    for _ in 0..5 {
        let next = refreshed(&app, &tokens).await;
        assert_ne!(next.refresh, tokens.refresh);
        assert_ne!(next.access, tokens.access);
        // An access token lives on until it expires: another tab may still use it.
        assert_open(&app, &tokens, "the previous access token").await;
        assert_open(&app, &next, "the next access token").await;
        tokens = next;
    }
    let sessions = user_of(&ada, &tokens).get("/users/me/sessions").send().await.expect(200).json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
    let admin = app.admin().await;
    assert_eq!(events_of(&admin, &ada).await.len(), 1, "refreshing is no event");
}

async fn parallel_refreshes_give_the_same_successor(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let first = open(&app, &ada.email).await;
    let answers = join_all((0..20).map(|_| refresh(&app, &first.refresh))).await;
    let successors: Vec<_> =
        answers.into_iter().map(|answer| Tokens::of(&answer.expect(200).json())).collect();
    for other in &successors {
        assert_eq!(other.refresh, successors[0].refresh);
        assert_open(&app, other, "each access token").await;
    }
    // The answer to it was lost: it is asked for again.
    assert_eq!(refreshed(&app, &first).await.refresh, successors[0].refresh);
    assert_ne!(refreshed(&app, &successors[0]).await.refresh, successors[0].refresh);
}

async fn reuse_after_the_window_ends_the_session(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, admin) = (app.sign_up("ada").await, app.admin().await);
    let now = "2026-11-22T08:00:00Z".parse::<jiff::Timestamp>().unwrap();
    app.clock.set(now);
    let (stolen, other) = (open(&app, &ada.email).await, open(&app, &ada.email).await);
    let next = refreshed(&app, &stolen).await;
    app.clock.set(now + SignedDuration::from_secs(30));
    assert_eq!(refreshed(&app, &stolen).await.refresh, next.refresh, "the last moment of the window");
    app.clock.set(now + SignedDuration::from_millis(30_001));
    let answers = join_all((0..10).map(|_| refresh(&app, &stolen.refresh))).await;
    for answer in answers {
        assert_eq!(answer.code(400), "invalid_grant");
    }
    assert_ended(&app, &next, "both holders").await;
    assert_open(&app, &other, "another session").await;
    let events = events_of(&admin, &ada).await;
    assert_eq!(events[1..], [("SessionRevoked".to_owned(), json!("reuse"))], "one event: {events:?}");
}

async fn reuse_of_an_older_token_ends_the_session_at_once(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let first = open(&app, &ada.email).await;
    let second = refreshed(&app, &first).await;
    let third = refreshed(&app, &second).await;
    assert_eq!(refresh(&app, &first.refresh).await.code(400), "invalid_grant");
    assert_ended(&app, &third, "two generations back").await;
}

async fn forged_and_foreign_refresh_tokens_are_refused(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let tokens = open(&app, &ada.email).await;
    let foreign = TestApp::start(Store::sqlite()).await;
    let eve = foreign.sign_up("eve").await;
    let foreign = open(&foreign, &eve.email).await;
    let mut flipped = tokens.refresh.clone();
    let last = if flipped.pop() == Some('A') { 'B' } else { 'A' };
    flipped.push(last);
    let short = &tokens.refresh[..tokens.refresh.len() - 1];
    let long = format!("{}A", tokens.refresh);
    let huge = "x".repeat(60_000);
    for forged in
        [&*foreign.refresh, &flipped, short, &long, "x", "\u{0}", &huge, &format!(" {}", tokens.refresh)]
    {
        let answer = refresh(&app, forged).await;
        assert_eq!(answer.code(400), "invalid_grant", "{forged}");
        assert!(!answer.text().contains(&tokens.refresh));
    }
    assert_open(&app, &refreshed(&app, &tokens).await, "the session is untouched").await;
    assert!(!captured_logs().contains(&tokens.refresh), "a refresh token is logged");
}

async fn tokens_of_another_purpose_are_refused(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let tokens = open(&app, &ada.email).await;
    assert_eq!(app.me(&tokens.refresh).await.code(403), "invalid_token");
    for access in [&tokens.access, &ada.token] {
        assert_eq!(refresh(&app, access).await.code(400), "invalid_grant");
    }
    // A token with a session of another user, or none that exists, however well it is signed.
    let bob = app.sign_up("bob").await;
    let sessions = user_of(&ada, &tokens).get("/users/me/sessions").send().await.expect(200).json();
    let id = sessions["sessions"][0]["id"].as_str().unwrap();
    let exp = store::Env::system().now().as_second() + 600;
    for (sid, status) in [
        (json!(id), 403),
        (json!("01930000-0000-7000-8000-00000000002a"), 403),
        (json!("x"), 403),
        (json!(7), 403),
        (Value::Null, 403),
    ] {
        let claims = json!({"sub": bob.id, "exp": exp, "ver": 1, "epoch": 1, "sid": sid});
        let token = sign_token(&claims, jsonwebtoken::Algorithm::HS256, crate::support::SECRET_KEY);
        assert_eq!(app.me(&token).await.status(), status, "{sid}");
    }
}

async fn refreshes_are_limited_by_address(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let mut refused = None;
    for _ in 0..=1_200 {
        let answer = refresh(&app, "x").await;
        if answer.status() != 400 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("no limit");
    assert_eq!(refused.code(429), "rate_limited");
    assert_eq!(refused.header("RateLimit-Policy"), "\"refreshes\";q=1200;w=60");
}
