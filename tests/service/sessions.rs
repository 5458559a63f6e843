//! Sessions: opened by a login, renewed by refresh tokens, ended; and what each kind of end revokes.

use aegis::config::LoginEventSetting;
use domain::Role;
use futures::future::join_all;
use jiff::SignedDuration;
use mongodb::bson::doc;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::service::Client;
use testkit::{FailPoint, FailPointMode, MongodServer};

use crate::support::{
    Deployment, MASTER_KEY, PASSWORD, Response, Store, TestApp, User, captured_logs, contains_text, dump,
    eventually, on_both_stores, on_one_store, sign_token,
};

on_both_stores! {
    login_without_the_scope_is_that_of_the_legacy_service
    session_is_opened_by_the_scope_at_both_endpoints
    refresh_gives_new_tokens_and_uses_up_the_old_one
    parallel_refreshes_give_the_same_successor
    reuse_after_the_window_ends_the_session
    reuse_of_an_older_token_ends_the_session_at_once
    forged_and_foreign_refresh_tokens_are_refused
    tokens_of_another_purpose_are_refused
    errors_of_the_token_endpoint_are_those_of_oauth
    sessions_expire_when_idle_and_in_the_end
    sessions_are_listed_and_ended_by_their_user
    session_of_another_user_cannot_be_ended
    logout_ends_its_session_and_no_other
    logout_without_a_session_voids_earlier_tokens
    logout_everywhere_ends_all
    clients_revoke_tokens_of_every_kind
    every_cause_of_revocation_is_exact
    password_change_keeps_the_session_of_the_caller
    erasure_leaves_nothing_of_a_session
    open_sessions_are_exported
    sessions_of_a_user_are_bounded
    logins_of_a_user_are_limited
    concurrent_logouts_everywhere_are_one_event
    refreshes_are_limited_by_address
    fields_of_the_login_give_no_session_of_choice
    session_put_back_into_the_database_is_not_renewed
    edited_and_copied_sessions_are_refused
    expired_sessions_are_deleted_in_bounded_steps
    expired_sessions_are_deleted_without_a_projector
}

mod on_two_nodes {
    use super::{
        ended_session_is_refused_by_another_node, ended_session_is_refused_without_a_change_stream,
        on_one_store,
    };

    on_one_store! { mongo:
        ended_session_is_refused_by_another_node
        ended_session_is_refused_without_a_change_stream
    }
}

const NEW_PASSWORD: &str = "a much longer way to say it";

/// The tokens of a session.
#[derive(Clone)]
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(answer: &Value) -> Self {
        let text =
            |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{name} in {answer}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

async fn log_in(client: &Client, email: &str, password: &str) -> Response {
    let form = [
        ("grant_type", "password"),
        ("username", email),
        ("password", password),
        ("scope", "profile offline_access"),
    ];
    client.post("/auth/token").form(&form).send().await
}

async fn open(client: &Client, email: &str) -> Tokens {
    Tokens::of(&log_in(client, email, PASSWORD).await.expect(200).json())
}

async fn refresh(client: &Client, token: &str) -> Response {
    client.post("/auth/token").form(&[("grant_type", "refresh_token"), ("refresh_token", token)]).send().await
}

async fn refreshed(client: &Client, tokens: &Tokens) -> Tokens {
    Tokens::of(&refresh(client, &tokens.refresh).await.expect(200).json())
}

/// The refresh token and the access token are refused.
async fn assert_ended(client: &Client, tokens: &Tokens, what: &str) {
    let me = client.me(&tokens.access).await;
    assert!([403, 404].contains(&me.status()), "{what}: {} {}", me.status(), me.text());
    let answer = refresh(client, &tokens.refresh).await;
    assert_eq!(
        (answer.code(400), answer.json()["error"].clone()),
        ("invalid_grant".to_owned(), json!("invalid_grant")),
        "{what}"
    );
}

async fn assert_open(client: &Client, tokens: &Tokens, what: &str) {
    assert_eq!(client.me(&tokens.access).await.status(), 200, "{what}");
}

fn user_of(user: &User, tokens: &Tokens) -> User {
    user.with_token(&tokens.access)
}

/// The types of the events in the stream of a user, and the reasons of ended sessions.
async fn events_of(admin: &User, user: &User) -> Vec<(String, Value)> {
    let log = admin.whole_log().await.into_iter();
    let mine = log.filter(|event| event["subject"] == user.id.as_str());
    mine.map(|event| (event["type"].as_str().unwrap().to_owned(), event["data"]["reason"].clone())).collect()
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

/// Each cause, and whether the session of the caller outlives it.
async fn every_cause_of_revocation_is_exact(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let admin = app.admin().await;
    for (number, cause) in CAUSES.iter().enumerate() {
        let name = format!("user{number}");
        let user = app.sign_up(&name).await;
        app.grant(&user, Role::Auditor).await;
        let (tokens, bystander) =
            (open(&app, &user.email).await, app.sign_up(&format!("other{number}")).await);
        let untouched = open(&app, &bystander.email).await;
        revoke_by(cause, &app, &admin, &user).await;
        for path in AUTHENTICATED_PATHS {
            for token in [&tokens.access, &user.token] {
                let answer = app.get(path).bearer(token).send().await;
                assert!([403, 404].contains(&answer.status()), "{cause}: {path}: {}", answer.status());
            }
        }
        assert_ended(&app, &tokens, cause).await;
        assert_open(&app, &untouched, cause).await;
        assert_eq!(app.services().sessions.of(&stream(&user)).await.unwrap().len(), 0, "{cause}");
    }
}

const CAUSES: [&str; 8] = [
    "password",
    "deactivation",
    "deactivation by an administrator",
    "lost role",
    "logout everywhere",
    "revocation by an administrator",
    "erasure",
    "erasure by an administrator",
];

const AUTHENTICATED_PATHS: [&str; 6] =
    ["/users/me", "/users/me/export", "/users/me/sessions", "/users/me/logins", "/events", "/log/checkpoint"];

async fn revoke_by(cause: &str, app: &TestApp, admin: &User, user: &User) {
    let confirmed = json!({"password": PASSWORD});
    let at = |action: &str| format!("/users/{}/{action}", user.id);
    match cause {
        "password" => {
            let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
            user.post("/users/me/password").json(&body).send().await.expect(204);
        }
        "deactivation" => {
            user.post("/users/me/deactivate").json(&confirmed).send().await.expect(204);
        }
        "deactivation by an administrator" => {
            admin.post(&at("deactivate")).send().await.expect(200);
        }
        "lost role" => {
            admin.delete(&at("roles/auditor")).send().await.expect(204);
        }
        "logout everywhere" => {
            user.post("/auth/logout-all").send().await.expect(204);
        }
        "revocation by an administrator" => {
            let answer = admin.post(&at("sessions/revoke")).send().await.expect(200);
            assert_eq!((answer.header("ETag"), &answer.json()["version"]), ("\"3\"", &json!(3)));
        }
        "erasure" => {
            user.request(Method::DELETE, "/users/me").json(&confirmed).send().await.expect(204);
        }
        "erasure by an administrator" => {
            admin.post(&at("erase")).json(&json!({"reason": "request"})).send().await.expect(204);
        }
        other => panic!("{other} at {}", app.address()),
    }
}

fn stream(user: &User) -> store::StreamId {
    store::StreamId::new(format!("user-{}", user.id)).unwrap()
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

async fn erasure_leaves_nothing_of_a_session(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let admin = app.admin().await;
    let user = app.sign_up("zyx").await;
    let form = [("username", &*user.email), ("password", PASSWORD), ("scope", "offline_access")];
    let answer =
        app.post("/auth/login/access-token").header("User-Agent", "Zyxagent/1").form(&form).send().await;
    let tokens = Tokens::of(&answer.expect(200).json());
    let shown = async || {
        let dumped = dump(&store).await;
        let is_shown =
            |bytes: &[u8]| contains_text(bytes, "Zyxagent") || contains_text(bytes, &tokens.refresh);
        dumped.into_iter().filter(|(_, bytes)| is_shown(bytes)).map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(shown().await, [""; 0], "it is sealed");
    let path = format!("/users/{}/erase", user.id);
    admin.post(&path).json(&json!({"reason": "request"})).send().await.expect(204);
    assert_ended(&app, &tokens, "erased").await;
    assert!(app.services().sessions.of(&stream(&user)).await.unwrap().is_empty());
    assert!(!captured_logs().contains("Zyxagent"));
}

async fn open_sessions_are_exported(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let export = async |caller: &User| {
        let answer = caller.get("/users/me/export").send().await.expect(200);
        assert_eq!(answer.header("Content-Type"), "application/json");
        answer.json()["sessions"].clone()
    };
    assert_eq!(export(&ada).await, json!([]));
    open(&app, &admin.email).await;
    let form = [
        ("grant_type", "password"),
        ("username", &*ada.email),
        ("password", PASSWORD),
        ("scope", "offline_access"),
    ];
    let kept = app.post("/auth/token").header("User-Agent", "Ada's tablet").form(&form).send().await;
    let kept = refreshed(&app, &Tokens::of(&kept.expect(200).json())).await;
    let ended = open(&app, &ada.email).await;
    user_of(&ada, &ended).post("/auth/logout").send().await.expect(204);
    let mut listed = ada.get("/users/me/sessions").send().await.expect(200).json()["sessions"].clone();
    listed[0].as_object_mut().unwrap().remove("current");
    assert_eq!(listed[0]["user_agent"], "Ada's tablet");
    assert_eq!(export(&ada).await, listed);
    user_of(&ada, &kept).post("/auth/logout-all").send().await.expect(204);
    let ada = ada.with_token(&app.token_of(&ada.email).await);
    assert_eq!(export(&ada).await, json!([]));
    open(&app, &ada.email).await;
    assert_eq!(export(&ada).await.as_array().unwrap().len(), 1);
    ada.delete("/users/me").json(&json!({"password": PASSWORD})).send().await.expect(204);
    app.stopped().await;
    let deployment = Deployment::of(store).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let record: Value =
        serde_json::from_str(&deployment.run_ok(&["users", "export", &ada.id]).await.stdout).unwrap();
    assert_eq!((&record["account"], &record["sessions"]), (&json!(null), &json!([])));
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

/// The database of the service, as a program that can write to it.
async fn raw_sessions(app: &TestApp) -> std::sync::Arc<dyn store::SessionStore> {
    aegis::app::Database::connect(&app.store().settings()).await.unwrap().sessions
}

async fn session_put_back_into_the_database_is_not_renewed(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let (raw, tokens) = (raw_sessions(&app).await, open(&app, &ada.email).await);
    let record = raw.sessions_of(&stream(&ada)).await.unwrap().remove(0);
    user_of(&ada, &tokens).post("/auth/logout").send().await.expect(204);
    raw.open_session(&record).await.unwrap();
    assert_eq!(refresh(&app, &tokens.refresh).await.code(400), "invalid_grant");
}

async fn edited_and_copied_sessions_are_refused(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let (raw, mine) = (raw_sessions(&app).await, open(&app, &eve.email).await);
    let victim = open(&app, &ada.email).await;
    let first = async |user: &User| raw.sessions_of(&stream(user)).await.unwrap().remove(0);
    let (own, foreign) = (first(&eve).await, first(&ada).await);
    let mut later = own.rotation.clone();
    later["expires_at"] = json!(4_000_000_000_000_i64);
    let mut older = own.grant.clone();
    older["version"] = json!(99);
    for forged in [
        store::sessions::SessionRecord { stream: stream(&ada), ..own.clone() },
        store::sessions::SessionRecord { grant: foreign.grant.clone(), ..own.clone() },
        store::sessions::SessionRecord { rotation: foreign.rotation.clone(), ..own.clone() },
        store::sessions::SessionRecord { rotation: later, ..own.clone() },
        store::sessions::SessionRecord { grant: older, ..own.clone() },
        store::sessions::SessionRecord { grant: Value::Null, ..own.clone() },
        store::sessions::SessionRecord { generation: 7, ..own.clone() },
        store::sessions::SessionRecord { id: foreign.id, ..own.clone() },
    ] {
        raw.purge_sessions(jiff::Timestamp::MAX, 1_000).await.unwrap();
        raw.open_session(&forged).await.unwrap();
        for tokens in [&mine, &victim] {
            assert_ended(&app, tokens, &format!("{forged:?}")).await;
        }
    }
    raw.purge_sessions(jiff::Timestamp::MAX, 1_000).await.unwrap();
    raw.open_session(&own).await.unwrap();
    assert_open(&app, &mine, "the genuine one").await;
    let counted = crate::support::metric(
        &crate::support::metrics(&app).await,
        "aegis_tampered_records_total{record=\"session\"}",
    );
    assert!(counted.is_some_and(|count| count >= 8.0), "{counted:?}");
}

async fn expired_sessions_are_deleted_in_bounded_steps(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let ada = app.sign_up("ada").await;
    open(&app, &ada.email).await;
    let raw = raw_sessions(&app).await;
    let record = raw.sessions_of(&stream(&ada)).await.unwrap().remove(0);
    for number in 0..50_u128 {
        let id = uuid::Uuid::from_u128(number);
        let expires_at = jiff::Timestamp::UNIX_EPOCH;
        raw.open_session(&store::sessions::SessionRecord { id, expires_at, ..record.clone() }).await.unwrap();
    }
    let epoch = jiff::Timestamp::UNIX_EPOCH;
    assert_eq!(raw.purge_sessions(epoch, 20).await.unwrap(), 0, "not before that time");
    assert_eq!(raw.purge_sessions(epoch + SignedDuration::from_secs(1), 20).await.unwrap(), 20);
    assert_eq!(app.services().sessions.purge().await.unwrap(), 30);
    assert_eq!(raw.sessions_of(&stream(&ada)).await.unwrap(), [record]);
}

async fn expired_sessions_are_deleted_without_a_projector(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let ada = app.sign_up("ada").await;
    open(&app, &ada.email).await;
    let raw = raw_sessions(&app).await;
    let record = raw.sessions_of(&stream(&ada)).await.unwrap().remove(0);
    let (id, expires_at) = (uuid::Uuid::nil(), jiff::Timestamp::UNIX_EPOCH);
    raw.open_session(&store::sessions::SessionRecord { id, expires_at, ..record.clone() }).await.unwrap();
    app.stopped().await;
    let app = TestApp::start_without_projector(store).await;
    let raw = raw_sessions(&app).await;
    eventually("the purge", async || raw.session(id).await.unwrap().is_none().then_some(())).await;
    assert_eq!(raw.sessions_of(&stream(&ada)).await.unwrap(), [record]);
}

async fn ended_session_is_refused_by_another_node() {
    let app = TestApp::start(Store::mongo().await).await;
    let node = app.start_second_node().await;
    let ada = app.sign_up("ada").await;
    for (end, status) in [("/auth/logout", 204), ("/auth/logout-all", 204)] {
        let tokens = open(&app, &ada.email).await;
        assert_open(&node, &tokens, "known to both nodes").await;
        let renewed = refreshed(&node, &tokens).await;
        user_of(&ada, &renewed).post(end).send().await.expect(status);
        // At once, without waiting for anything.
        assert_ended(&node, &renewed, end).await;
        assert_ended(&app, &renewed, end).await;
    }
}

async fn ended_session_is_refused_without_a_change_stream() {
    let server = MongodServer::replica_set().await;
    let app = TestApp::start(Store::at(&server.url())).await;
    let node = app.start_second_node().await;
    let (ada, admin) = (app.sign_up("ada").await, app.admin().await);
    let commands = ["aggregate", "getMore", "find", "listCollections"];
    let cut = doc! { "failCommands": &commands[..], "appName": "aegis-watch", "errorCode": 13 };
    let cut = FailPoint::command(&server, FailPointMode::Always, cut).await;
    cut.wait_for_hits(4).await;
    let revoke = format!("/users/{}/sessions/revoke", ada.id);
    for (cause, status) in [("/auth/logout", 204), ("/auth/logout-all", 204), (&*revoke, 200)] {
        let tokens = open(&app, &ada.email).await;
        assert_open(&node, &tokens, "before").await;
        let caller = if cause == revoke { admin.clone() } else { user_of(&ada, &tokens) };
        caller.post(cause).send().await.expect(status);
        // A node that cannot learn of an event in time may answer 503, but never 200.
        for answer in [node.me(&tokens.access).await, refresh(&node, &tokens.refresh).await] {
            assert!(
                [400, 403, 503].contains(&answer.status()),
                "{cause}: {} {}",
                answer.status(),
                answer.text()
            );
        }
    }
    cut.clear().await;
}
