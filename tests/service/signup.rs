//! `POST /auth/signup`: successful sign-ups, and taken identities.

use aegis::config::Settings;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Response, Store, TestApp, credentials, on_both_stores};

on_both_stores! {
    sign_up_returns_the_five_fields
    created_at_is_the_time_of_the_sign_up
    unknown_fields_are_ignored
    email_is_trimmed_and_its_domain_lowercased
    username_is_trimmed_and_normalised
    taken_email_is_rejected_in_every_spelling
    taken_username_is_rejected_in_every_spelling
    username_that_looks_like_another_is_rejected
    scripts_of_usernames_can_be_configured
    rejected_sign_up_leaves_no_trace
    taken_email_is_reported_before_a_taken_username
    minimum_and_maximum_password_lengths_are_accepted
    legacy_password_rule_can_be_configured
}

async fn sign_up(app: &TestApp, email: &str, username: &str) -> Response {
    let body = json!({"email": email, "username": username, "password": PASSWORD});
    app.post("/auth/signup").json(&body).send().await
}

fn email_taken() -> Value {
    json!({"detail": "The user with this email already exists in the system.", "code": "email_taken"})
}

fn username_taken() -> Value {
    json!({"detail": "The user with this username already exists in the system.", "code": "username_taken"})
}

async fn sign_up_returns_the_five_fields(store: Store) {
    let app = TestApp::start(store).await;
    let answer = app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201);
    let mut body = answer.json();
    let fields = body.as_object_mut().unwrap();
    let id = fields.remove("id").unwrap().as_str().unwrap().to_owned();
    let created_at = fields.remove("created_at").unwrap().as_str().unwrap().to_owned();
    assert_eq!(body, json!({"email": "ada@example.com", "username": "ada", "is_active": true}));
    assert_eq!(answer.header("Location"), format!("/api/v1/users/{id}"));
    assert!(created_at.ends_with('Z') && created_at.parse::<Timestamp>().is_ok(), "{created_at}");
    assert!(answer.header("Content-Type").starts_with("application/json"), "{answer:?}");
    assert!(answer.position() > 0);
}

async fn created_at_is_the_time_of_the_sign_up(store: Store) {
    let app = TestApp::start(store).await;
    let moment: Timestamp = "2026-11-22T08:03:14.680Z".parse().unwrap();
    app.clock.set(moment);
    let user = app.sign_up("ada").await;
    let created_at = app.me(&user.token).await.expect(200).json()["created_at"].as_str().unwrap().to_owned();
    assert_eq!(created_at.parse::<Timestamp>().unwrap(), moment);
    assert!(created_at.ends_with('Z'), "{created_at}");
}

async fn unknown_fields_are_ignored(store: Store) {
    let app = TestApp::start(store).await;
    let mut body = credentials("ada");
    body["is_active"] = json!(false);
    body["id"] = json!("0193e2b4-0000-7000-8000-000000000001");
    body["roles"] = json!(["admin"]);
    body["is_superuser"] = json!(true);
    let answer = app.post("/auth/signup").json(&body).send().await.expect(201).json();
    assert_eq!(answer["is_active"], json!(true));
    assert_ne!(answer["id"], body["id"]);
    let admin = app.admin().await;
    assert_eq!(admin.look_up(answer["id"].as_str().unwrap()).await["roles"], json!([]));
}

async fn email_is_trimmed_and_its_domain_lowercased(store: Store) {
    let app = TestApp::start(store).await;
    let answer = sign_up(&app, " \tAda.Lovelace@EXAMPLE.Com \n", "ada").await.expect(201).json();
    assert_eq!(answer["email"], "Ada.Lovelace@example.com");
    // With a display name, which Pydantic accepts as well.
    let answer = sign_up(&app, "Bob <bob@example.com>", "bob").await.expect(201).json();
    assert_eq!(answer["email"], "bob@example.com");
    for typed in ["Ada.Lovelace@example.com", "ada.lovelace@example.COM", "  ADA.LOVELACE@example.com "] {
        app.log_in(typed, PASSWORD).await.expect(200);
    }
}

async fn username_is_trimmed_and_normalised(store: Store) {
    let app = TestApp::start(store).await;
    let shown = |answer: Response| answer.expect(201).json()["username"].clone();
    assert_eq!(shown(sign_up(&app, "a@example.com", "  Ada  Lovelace ").await), "Ada Lovelace");
    assert_eq!(shown(sign_up(&app, "b@example.com", "ｂｏｂ").await), "bob");
    assert_eq!(shown(sign_up(&app, "c@example.com", "Ame\u{301}lie").await), "Amélie");
    assert_eq!(shown(sign_up(&app, "d@example.com", "李明").await), "李明");
    assert_eq!(shown(sign_up(&app, "e@example.com", &"é".repeat(64)).await), "é".repeat(64));
}

async fn taken_email_is_rejected_in_every_spelling(store: Store) {
    let app = TestApp::start(store).await;
    sign_up(&app, "Ada@example.com", "first").await.expect(201);
    for (number, twin) in
        ["Ada@example.com", "ada@EXAMPLE.com", " ADA@example.com ", "Ａda@example.com"].iter().enumerate()
    {
        let answer = sign_up(&app, twin, &format!("twin {number}")).await;
        assert_eq!(answer.error_body(400), email_taken(), "{twin}");
        assert_eq!(answer.header("Location"), "");
    }
    sign_up(&app, "straße@example.com", "second").await.expect(201);
    assert_eq!(sign_up(&app, "STRASSE@example.com", "third").await.error_body(400), email_taken());
}

async fn taken_username_is_rejected_in_every_spelling(store: Store) {
    let app = TestApp::start(store).await;
    sign_up(&app, "ada@example.com", "Ada Lovelace").await.expect(201);
    for (number, twin) in
        ["Ada Lovelace", " ada lovelace ", "ADA LOVELACE", "ａｄａ lovelace", "Ada\u{3000} Lovelace"]
            .iter()
            .enumerate()
    {
        let answer = sign_up(&app, &format!("twin{number}@example.com"), twin).await;
        assert_eq!(answer.error_body(400), username_taken(), "{twin}");
    }
}

async fn username_that_looks_like_another_is_rejected(store: Store) {
    let app = TestApp::start_with(store, |settings| {
        settings.usernames.level = domain::RestrictionLevel::Unrestricted;
    })
    .await;
    sign_up(&app, "ada@example.com", "Ada L").await.expect(201);
    // A Cyrillic letter, a blank Braille pattern, a digit, two spaces, mathematical letters.
    for (number, twin) in ["Аda L", "Ada L\u{2800}", "Ada 1", "𝐀𝐝𝐚  ｌ\u{2800}"].iter().enumerate()
    {
        let answer = sign_up(&app, &format!("twin{number}@example.com"), twin).await;
        let expected =
            json!({"detail": "The username looks like that of another user.", "code": "username_confusable"});
        assert_eq!(answer.error_body(400), expected, "{}", twin.escape_unicode());
    }
    assert_eq!(app.head().await, 1, "a rejected sign-up was appended");
    // An erasure frees what the name looks like, too.
    let token = app.log_in("ada@example.com", PASSWORD).await.expect(200).json()["access_token"].clone();
    let erase = app
        .request(Method::DELETE, "/users/me")
        .bearer(token.as_str().unwrap())
        .json(&json!({"password": PASSWORD}));
    erase.send().await.expect(204);
    sign_up(&app, "twin@example.com", "Аda L").await.expect(201);
}

async fn scripts_of_usernames_can_be_configured(store: Store) {
    let app = TestApp::start_with(store, |settings| {
        settings.usernames.level = domain::RestrictionLevel::Unrestricted;
    })
    .await;
    for (number, name) in ["аdа", "😀", "\u{E000}x"].iter().enumerate() {
        let answer = sign_up(&app, &format!("user{number}@example.com"), name).await;
        assert_eq!(answer.expect(201).json()["username"], *name);
    }
}

async fn rejected_sign_up_leaves_no_trace(store: Store) {
    let app = TestApp::start(store).await;
    sign_up(&app, "ada@example.com", "ada").await.expect(201);
    sign_up(&app, "ada@example.com", "bob").await.expect(400);
    sign_up(&app, "bob@example.com", "ada").await.expect(400);
    // Neither rejection has claimed the other half of the identity.
    let answer = sign_up(&app, "bob@example.com", "bob").await.expect(201);
    assert_eq!(answer.position(), 2, "the second event of the log");
}

async fn taken_email_is_reported_before_a_taken_username(store: Store) {
    let app = TestApp::start(store).await;
    sign_up(&app, "ada@example.com", "ada").await.expect(201);
    sign_up(&app, "bob@example.com", "bob").await.expect(201);
    assert_eq!(sign_up(&app, "ada@example.com", "bob").await.error_body(400), email_taken());
    assert_eq!(sign_up(&app, "bob@example.com", "ada").await.error_body(400), email_taken());
}

async fn minimum_and_maximum_password_lengths_are_accepted(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.passwords.min_score = 0).await;
    for (name, password) in
        [("least", "éééééééé".to_owned()), ("most", "é".repeat(1024)), ("spaces", " ".repeat(8))]
    {
        let mut body = credentials(name);
        body["password"] = password.as_str().into();
        app.post("/auth/signup").json(&body).send().await.expect(201);
        app.log_in(&format!("{name}@example.com"), &password).await.expect(200);
        app.log_in(&format!("{name}@example.com"), &format!("{password} ")).await.expect(400);
    }
}

async fn legacy_password_rule_can_be_configured(store: Store) {
    let legacy = |settings: &mut Settings| {
        settings.passwords.min_length = 1;
        settings.passwords.min_score = 0;
    };
    let app = TestApp::start_with(store, legacy).await;
    let mut body = credentials("ada");
    body["password"] = "x".into();
    app.post("/auth/signup").json(&body).send().await.expect(201);
    body["password"] = "".into();
    let faults = app.post("/auth/signup").json(&body).send().await.validation_errors();
    assert_eq!(faults[0]["msg"], "String should have at least 1 character");
}
