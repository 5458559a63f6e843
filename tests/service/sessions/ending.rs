//! What ends a session and which: the list, logouts, the revocation by a client, a change of the password.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    NEW_PASSWORD, Tokens, assert_ended, assert_open, events_of, open, refresh, refreshed, stream, user_of,
};
use crate::support::{PASSWORD, Store, TestApp, on_both_stores};

on_both_stores! {
    sessions_are_listed_and_ended_by_their_user
    session_of_another_user_cannot_be_ended
    logout_ends_its_session_and_no_other
    logout_without_a_session_voids_earlier_tokens
    logout_everywhere_ends_all
    clients_revoke_tokens_of_every_kind
    password_change_keeps_the_session_of_the_caller
    concurrent_logouts_everywhere_are_one_event
}

async fn sessions_are_listed_and_ended_by_their_user(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, admin) = (app.sign_up("ada").await, app.admin().await);
    let form = [("username", &*ada.email), ("password", PASSWORD), ("scope", "offline_access")];
    let phone = app.post("/auth/login/access-token").header("User-Agent", "Phone/1").form(&form).send().await;
    let phone = Tokens::of(&phone.expect(200).json());
    let laptop = open(&app, &ada.email).await;
    let me = user_of(&ada, &laptop);
    let list = async || me.get("/users/me/sessions").send().await.expect(200).json()["sessions"].clone();
    let listed = list().await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let current: Vec<_> = listed.as_array().unwrap().iter().map(|session| &session["current"]).collect();
    assert_eq!(current, [true, false], "the last used one first");
    assert_eq!(listed[1]["user_agent"], "Phone/1");
    for field in ["created_at", "last_used_at", "expires_at"] {
        listed[1][field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
    let path = format!("/users/me/sessions/{}", listed[1]["id"].as_str().unwrap());
    me.delete(&path).send().await.expect(204);
    assert_ended(&app, &phone, "ended from the laptop").await;
    assert_open(&app, &laptop, "the other one").await;
    assert_eq!(me.delete(&path).send().await.code(404), "not_found");
    assert_eq!(list().await.as_array().unwrap().len(), 1);
    assert_eq!(me.delete("/users/me/sessions/x").send().await.code(404), "not_found");
    let events = events_of(&admin, &ada).await;
    assert_eq!(events[1..], [("SessionRevoked".to_owned(), json!("ended"))]);
}

async fn session_of_another_user_cannot_be_ended(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, eve, admin) = (app.sign_up("ada").await, app.sign_up("eve").await, app.admin().await);
    let tokens = open(&app, &ada.email).await;
    let sessions = user_of(&ada, &tokens).get("/users/me/sessions").send().await.expect(200).json();
    let path = format!("/users/me/sessions/{}", sessions["sessions"][0]["id"].as_str().unwrap());
    for attacker in [&eve, &admin] {
        assert_eq!(attacker.delete(&path).send().await.code(404), "not_found");
    }
    app.request(Method::DELETE, &path).send().await.expect(401);
    assert_open(&app, &tokens, "untouched").await;
    assert_eq!(events_of(&admin, &eve).await.len(), 1, "nothing is recorded");
}

async fn logout_ends_its_session_and_no_other(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, admin) = (app.sign_up("ada").await, app.admin().await);
    let (one, other) = (open(&app, &ada.email).await, open(&app, &ada.email).await);
    for _ in 0..2 {
        user_of(&ada, &one).post("/auth/logout").send().await.expect(204);
    }
    assert_ended(&app, &one, "logged out").await;
    assert_open(&app, &other, "another session").await;
    assert_open(&app, &Tokens { access: ada.token.clone(), refresh: String::new() }, "no session").await;
    assert_eq!(events_of(&admin, &ada).await[1..], [("SessionRevoked".to_owned(), json!("logout"))]);
    app.post("/auth/logout").send().await.expect(401);
    assert_eq!(app.post("/auth/logout").bearer("x").send().await.code(403), "invalid_token");
}

async fn logout_without_a_session_voids_earlier_tokens(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, admin) = (app.sign_up("ada").await, app.admin().await);
    let (session, older) = (open(&app, &ada.email).await, app.token_of(&ada.email).await);
    for _ in 0..2 {
        ada.post("/auth/logout").send().await.expect(204);
    }
    for token in [&ada.token, &older] {
        assert_eq!(app.me(token).await.code(403), "token_revoked");
    }
    assert_ended(&app, &session, "with all tokens").await;
    assert_eq!(events_of(&admin, &ada).await[1..], [("TokensRevoked".to_owned(), Value::Null)]);
    app.me(&app.token_of(&ada.email).await).await.expect(200);
}

async fn logout_everywhere_ends_all(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let (one, other, foreign) =
        (open(&app, &ada.email).await, open(&app, &ada.email).await, open(&app, &bob.email).await);
    // One whose session has ended cannot, and nothing is acknowledged.
    let ended = open(&app, &ada.email).await;
    user_of(&ada, &ended).post("/auth/logout").send().await.expect(204);
    assert_eq!(user_of(&ada, &ended).post("/auth/logout-all").send().await.code(403), "token_revoked");
    assert_open(&app, &one, "nothing was ended").await;
    user_of(&ada, &one).post("/auth/logout-all").send().await.expect(204);
    for tokens in [&one, &other] {
        assert_ended(&app, tokens, "logged out everywhere").await;
    }
    assert_eq!(app.me(&ada.token).await.code(403), "token_revoked");
    assert_open(&app, &foreign, "another user").await;
}

async fn clients_revoke_tokens_of_every_kind(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, admin) = (app.sign_up("ada").await, app.admin().await);
    let revoke = async |token: &str| {
        let form = [("token", token), ("token_type_hint", "refresh_token")];
        app.post("/auth/revoke").form(&form).send().await.expect(200);
    };
    let (by_refresh, by_access, kept) =
        (open(&app, &ada.email).await, open(&app, &ada.email).await, open(&app, &ada.email).await);
    for _ in 0..2 {
        revoke(&by_refresh.refresh).await;
        revoke(&by_access.access).await;
    }
    for unknown in ["x", "a.b.c"] {
        revoke(unknown).await;
    }
    let machine =
        admin.post("/tokens").json(&json!({"name": "x", "roles": ["auditor"]})).send().await.expect(201);
    let machine = machine.json()["token"].as_str().unwrap().to_owned();
    let answer = app.post("/auth/revoke").form(&[("token", &*machine)]).send().await;
    assert_eq!(answer.error_body(400)["error"], "unsupported_token_type");
    assert_ended(&app, &by_refresh, "by its refresh token").await;
    assert_ended(&app, &by_access, "by its access token").await;
    assert_open(&app, &kept, "another").await;
    let revoked = ("SessionRevoked".to_owned(), json!("revoked"));
    assert_eq!(events_of(&admin, &ada).await[1..], [revoked.clone(), revoked]);
    revoke(&ada.token).await;
    assert_eq!(app.me(&ada.token).await.code(403), "token_revoked");
    assert_ended(&app, &kept, "with all tokens").await;
}

async fn password_change_keeps_the_session_of_the_caller(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let (mine, other) = (open(&app, &ada.email).await, open(&app, &ada.email).await);
    let change = async |tokens: &Tokens, current: &str, new: &str, preference: &str| {
        let body = json!({"current_password": current, "new_password": new});
        let request = user_of(&ada, tokens).post("/users/me/password").header("Prefer", preference);
        request.json(&body).send().await
    };
    change(&mine, PASSWORD, NEW_PASSWORD, "return=minimal").await.expect(204);
    assert_eq!(app.me(&mine.access).await.code(403), "token_revoked", "every token ends");
    assert_ended(&app, &other, "every other session").await;
    let mine = refreshed(&app, &mine).await;
    assert_open(&app, &mine, "the session goes on").await;
    let again = "one more way to say the same thing";
    let answer = change(&mine, NEW_PASSWORD, again, "return=representation").await.expect(200);
    let next = Tokens::of(&answer.json());
    assert_open(&app, &next, "the new tokens").await;
    let keyed = |tokens: &Tokens, current: &str| {
        let body = json!({"current_password": current, "new_password": PASSWORD});
        let request = user_of(&ada, tokens).post("/users/me/password").header("Idempotency-Key", "k");
        request.json(&body).send()
    };
    keyed(&next, again).await.expect(204);
    let next = refreshed(&app, &next).await;
    keyed(&next, again).await.expect(204);
    assert_open(&app, &refreshed(&app, &next).await, "renewed").await;
    assert_eq!(app.services().sessions.of(&stream(&ada)).await.unwrap().len(), 1);
    // A copy of the refresh token from before the change ends the session, without a window.
    let copy = refreshed(&app, &next).await;
    let answer = change(&copy, PASSWORD, NEW_PASSWORD, "return=representation").await.expect(200);
    let last = Tokens::of(&answer.json());
    assert_eq!(refresh(&app, &copy.refresh).await.code(400), "invalid_grant");
    assert_ended(&app, &last, "both holders").await;
}

async fn concurrent_logouts_everywhere_are_one_event(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, admin) = (app.sign_up("ada").await, app.admin().await);
    for path in ["/auth/logout-all", "/auth/logout"] {
        let token = app.log_in(&ada.email, PASSWORD).await.expect(200).json()["access_token"].clone();
        let caller = ada.with_token(token.as_str().unwrap());
        let before = events_of(&admin, &ada).await.len();
        let requests = (0..8).map(|_| caller.post(path).send());
        for answer in join_all(requests).await {
            answer.expect(204);
        }
        let events = events_of(&admin, &ada).await;
        let types: Vec<_> = events[before..].iter().map(|(event, _)| event.as_str()).collect();
        assert_eq!(types, ["TokensRevoked"], "{path}");
        app.me(token.as_str().unwrap()).await.expect(403);
    }
    // A later one has something to end again.
    let session = open(&app, &ada.email).await;
    user_of(&ada, &session).post("/auth/logout-all").send().await.expect(204);
    assert_ended(&app, &session, "logged out everywhere").await;
}
