//! `POST /auth/login/access-token`: successful logins.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use crate::support::{PASSWORD, Response, SECRET_KEY, Store, TestApp, email_of, on_both_stores};

on_both_stores! {
    login_returns_a_bearer_token_for_seven_days
    token_claims_are_subject_and_expiry
    login_accepts_urlencoded_and_multipart_forms
    optional_fields_and_basic_authentication_are_ignored
    password_is_not_trimmed
    password_matches_in_every_unicode_form
    head_is_not_disclosed_before_authentication
    login_directly_after_sign_up_succeeds
    token_algorithm_is_configurable
}

async fn log_in_with(app: &TestApp, fields: &[(&str, &str)]) -> Response {
    let own = [("username", "ada@example.com"), ("password", PASSWORD)];
    app.post("/auth/login/access-token").form(&[&own, fields].concat()).send().await
}

async fn login_returns_a_bearer_token_for_seven_days(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    let answer = app.log_in("ada@example.com", PASSWORD).await.expect(200);
    assert_eq!(answer.header("Cache-Control"), "no-store");
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&"bearer".into(), &604_800.into()));
    app.me(body["access_token"].as_str().unwrap()).await.expect(200);
}

fn claims(token: &str, algorithm: Algorithm) -> Value {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    decode(token, &DecodingKey::from_secret(SECRET_KEY.as_bytes()), &validation).unwrap().claims
}

async fn token_claims_are_subject_and_expiry(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:03:14.680Z".parse().unwrap());
    let user = app.sign_up("ada").await;
    let claims = claims(&user.token, Algorithm::HS256);
    assert_eq!(claims["sub"], user.id.as_str());
    assert_eq!(claims["iat"], 1_795_334_594);
    assert_eq!(claims["exp"], 1_795_334_594 + 604_800);
    assert_eq!(claims["ver"], 1);
    assert!(claims["jti"].as_str().is_some_and(|jti| !jti.is_empty()));
    assert_ne!(app.token_of(&user.email).await, user.token, "every login has its own `jti`");
}

async fn login_accepts_urlencoded_and_multipart_forms(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    let login = || app.post("/auth/login/access-token");
    let fields = [("username", "ada@example.com"), ("password", PASSWORD)];
    login().multipart(&fields).send().await.expect(200);
    let form = "username=ada%40example.com&password=correct+horse%20battery+staple";
    for content_type in
        ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8"]
    {
        login().body(content_type, form).send().await.expect(200);
    }
}

async fn optional_fields_and_basic_authentication_are_ignored(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    log_in_with(&app, &[("grant_type", "password")]).await.expect(200);
    log_in_with(&app, &[("grant_type", "")]).await.expect(200);
    let others = [("scope", "me items"), ("client_id", "client"), ("client_secret", "guess"), ("other", "x")];
    log_in_with(&app, &others).await.expect(200);
    // What RFC 6749 §2.3.1 clients send: `client:guess`.
    let form = [("username", "ada@example.com"), ("password", PASSWORD)];
    let login = app.post("/auth/login/access-token").header("Authorization", "Basic Y2xpZW50Omd1ZXNz");
    login.form(&form).send().await.expect(200);
}

async fn password_is_not_trimmed(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    for near in [format!(" {PASSWORD}"), format!("{PASSWORD} "), PASSWORD.to_uppercase()] {
        app.log_in("ada@example.com", &near).await.expect(400);
    }
}

async fn password_matches_in_every_unicode_form(store: Store) {
    let app = TestApp::start(store).await;
    let (composed, decomposed) = ("caf\u{E9} au lait", "cafe\u{301}\u{A0}au\u{3000}lait");
    for (name, typed) in [("ada", composed), ("bob", decomposed)] {
        let body = json!({"email": email_of(name), "username": name, "password": typed});
        app.post("/auth/signup").json(&body).send().await.expect(201);
        for form in [composed, decomposed] {
            app.log_in(&email_of(name), form).await.expect(200);
        }
        app.log_in(&email_of(name), "cafe au lait").await.expect(400);
    }
}

async fn head_is_not_disclosed_before_authentication(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    let head = app.head().await;
    let log_in = async |password: &str, position: u64| {
        let form = [("username", "ada@example.com"), ("password", password)];
        let login = app.post("/auth/login/access-token").header("Aegis-Min-Position", &position.to_string());
        login.form(&form).send().await
    };
    for position in [head, head + 1, 99_999_999] {
        let refused = log_in("wrong password", position).await;
        assert_eq!(refused.code(400), "invalid_credentials", "at {position}");
    }
    log_in(PASSWORD, head).await.expect(200);
    log_in(PASSWORD, head + 1).await.expect(422);
}

async fn login_directly_after_sign_up_succeeds(store: Store) {
    let app = TestApp::start(store).await;
    for number in 0..30 {
        let user = app.sign_up(&format!("user{number}")).await;
        app.me(&user.token).await.expect(200);
    }
}

async fn token_algorithm_is_configurable(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.tokens.algorithm = Algorithm::HS512).await;
    let user = app.sign_up("ada").await;
    assert_eq!(claims(&user.token, Algorithm::HS512)["sub"], user.id.as_str());
    app.me(&user.token).await.expect(200);
}
