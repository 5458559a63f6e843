//! `GET /users/me`, and invalid tokens.

use domain::{Role, UserCommand};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{
    PASSWORD, Response, SECRET_KEY, Store, TestApp, credentials, on_both_stores, sign_token,
};

on_both_stores! {
    me_returns_the_same_body_as_sign_up
    bearer_scheme_is_case_insensitive
    missing_bearer_token_is_rejected
    every_kind_of_invalid_token_is_rejected
    token_expires_after_its_last_second
    deactivated_users_token_stays_void_after_reactivation
    revoking_a_role_voids_tokens_and_granting_one_does_not
    token_of_an_unknown_user_is_answered_404
    token_of_a_version_that_the_log_does_not_have_is_refused
    token_from_before_a_restore_is_refused
}

#[track_caller]
fn assert_not_authenticated(answer: &Response) {
    let body = answer.error_body(401);
    assert_eq!(body["detail"], "Not authenticated");
    assert!(body["code"].is_string(), "{body}");
    assert_eq!(answer.header("WWW-Authenticate"), "Bearer");
}

#[track_caller]
fn assert_not_valid(answer: &Response, what: &str) -> Value {
    let body = answer.error_body(403);
    assert_eq!(body["detail"], "Could not validate credentials", "{what}");
    assert_eq!(answer.header("Cache-Control"), "no-store", "{what}");
    body["code"].clone()
}

async fn me_returns_the_same_body_as_sign_up(store: Store) {
    let app = TestApp::start(store).await;
    let signed_up = app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201).json();
    let token = app.token_of("ada@example.com").await;
    let answer = app.me(&token).await.expect(200);
    assert_eq!(answer.json(), signed_up);
    assert_eq!(answer.header("Cache-Control"), "no-store");
}

async fn bearer_scheme_is_case_insensitive(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let header = format!("{scheme} {}", user.token);
        app.get("/users/me").header("Authorization", &header).send().await.expect(200);
    }
}

async fn missing_bearer_token_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    assert_not_authenticated(&app.get("/users/me").send().await);
    for header in [
        "Basic YWRhOnBhc3N3b3Jk".to_owned(),
        user.token.clone(),
        "Digest x".into(),
        format!("Token {}", user.token),
    ] {
        assert_not_authenticated(&app.get("/users/me").header("Authorization", &header).send().await);
    }
    let answer = app.get(&format!("/users/me?token={0}&access_token={0}", user.token)).send().await;
    assert_not_authenticated(&answer);
}

async fn every_kind_of_invalid_token_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let now = 1_795_334_594;
    app.clock.set(jiff::Timestamp::from_second(now).unwrap());
    let user = app.sign_up("ada").await;
    let sign = |claims: Value| sign_token(&claims, Algorithm::HS256, SECRET_KEY);
    let (sub, exp) = (user.id.as_str(), now + 60);
    app.me(&sign(json!({"sub": sub, "exp": exp}))).await.expect(200);
    let good = sign(json!({"sub": sub, "exp": exp}));
    let [head, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    for (what, token) in [
        ("malformed", "a.b.c".to_owned()),
        ("one part", "abc".to_owned()),
        ("no signature", format!("{head}.{payload}.")),
        ("four parts", format!("{good}.x")),
        ("bad signature", format!("{head}.{payload}.{}A", &signature[..signature.len() - 2])),
        ("alg none", format!("eyJhbGciOiJub25lIn0.{payload}.")),
        ("alg none, signed", format!("eyJhbGciOiJub25lIn0.{payload}.{signature}")),
        (
            "another key",
            sign_token(
                &json!({"sub": sub, "exp": exp}),
                Algorithm::HS256,
                "another key of thirty-two bytes.",
            ),
        ),
        ("another algorithm", sign_token(&json!({"sub": sub, "exp": exp}), Algorithm::HS384, SECRET_KEY)),
        ("expired", sign(json!({"sub": sub, "exp": now - 1}))),
        ("no exp", sign(json!({"sub": sub}))),
        ("no sub", sign(json!({"exp": exp}))),
        ("exp a text", sign(json!({"sub": sub, "exp": "tomorrow"}))),
        ("exp null", sign(json!({"sub": sub, "exp": null}))),
        ("sub no id", sign(json!({"sub": "ada", "exp": exp}))),
        ("sub empty", sign(json!({"sub": "", "exp": exp}))),
        ("sub a number", sign(json!({"sub": 7, "exp": exp}))),
        ("sub an e-mail", sign(json!({"sub": user.email, "exp": exp}))),
        ("sub a bare UUID", sign(json!({"sub": sub.replace('-', ""), "exp": exp}))),
        ("claims no object", sign(json!([1, 2]))),
        ("very long", "x".repeat(6000)),
    ] {
        assert_not_valid(&app.me(&token).await, what);
    }
    for empty in ["Bearer", "Bearer ", "Bearer  "] {
        let answer = app.get("/users/me").header("Authorization", empty).send().await;
        assert_not_valid(&answer, "empty");
    }
}

async fn token_expires_after_its_last_second(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let user = app.sign_up("ada").await;
    app.clock.set("2026-11-29T07:59:59Z".parse().unwrap());
    app.me(&user.token).await.expect(200);
    app.clock.set("2026-11-29T08:00:00Z".parse().unwrap());
    assert_not_valid(&app.me(&user.token).await, "a token of a week ago");
}

async fn deactivated_users_token_stays_void_after_reactivation(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    app.command(&user.id, UserCommand::Deactivate { reason: None }).await;
    assert_eq!(app.me(&user.token).await.code(403), "inactive_user");
    app.command(&user.id, UserCommand::Reactivate { reason: None }).await;
    assert_eq!(app.me(&user.token).await.code(403), "token_revoked");
    let legacy_claims = json!({"sub": user.id, "exp": 4_000_000_000_u64});
    let answer = app.me(&sign_token(&legacy_claims, Algorithm::HS256, SECRET_KEY)).await;
    assert_eq!(answer.code(403), "token_revoked", "a token without `ver` counts from 0");
    app.me(&app.token_of(&user.email).await).await.expect(200);
}

async fn revoking_a_role_voids_tokens_and_granting_one_does_not(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    app.grant(&user, Role::Auditor).await;
    app.me(&user.token).await.expect(200);
    app.command(&user.id, UserCommand::RevokeRole { role: Role::Auditor }).await;
    assert_eq!(app.me(&user.token).await.code(403), "token_revoked");
    app.log_in(&user.email, PASSWORD).await.expect(200);
}

async fn token_of_an_unknown_user_is_answered_404(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    for sub in ["0193e2b4-0000-7000-8000-000000000001", "65a1b2c3d4e5f60718293a4b"] {
        let token = sign_token(&json!({"sub": sub, "exp": 4_000_000_000_u64}), Algorithm::HS256, SECRET_KEY);
        let body = app.me(&token).await.error_body(404);
        assert_eq!(body["detail"], "User not found");
    }
}

async fn token_of_a_version_that_the_log_does_not_have_is_refused(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let of_version = |version| {
        let claims = json!({"sub": user.id, "exp": 4_000_000_000_u64, "ver": version});
        sign_token(&claims, Algorithm::HS256, SECRET_KEY)
    };
    app.me(&of_version(1)).await.expect(200);
    // As issued after a reactivation that a restored backup does not contain.
    let undone = of_version(3);
    assert_eq!(assert_not_valid(&app.me(&undone).await, "undone"), json!("invalid_token"));
    admin.put(&format!("/users/{}/roles/auditor", user.id)).send().await.expect(204);
    app.me(&undone).await.expect(403);
}

async fn token_from_before_a_restore_is_refused(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    let epoch = app.services().store.raise_epoch().await.unwrap();
    let restored = app.start_second_node().await;
    assert_eq!(assert_not_valid(&restored.me(&user.token).await, "before"), json!("invalid_token"));
    let legacy = |iat: Value| {
        let mut claims = json!({"sub": user.id, "exp": 4_000_000_000_u64});
        claims["iat"] = iat;
        sign_token(&claims, Algorithm::HS256, SECRET_KEY)
    };
    assert_not_valid(&restored.me(&legacy(json!(epoch - 1))).await, "legacy, issued before");
    restored.me(&legacy(json!(epoch))).await.expect(200);
    let without =
        sign_token(&json!({"sub": user.id, "exp": 4_000_000_000_u64}), Algorithm::HS256, SECRET_KEY);
    restored.me(&without).await.expect(200);
    let token = restored.token_of(&user.email).await;
    restored.me(&token).await.expect(200);
    app.me(&token).await.expect(403);
}
