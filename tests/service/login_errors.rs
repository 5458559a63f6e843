//! `POST /auth/login/access-token`: rejected logins.

use std::time::{Duration, Instant};

use domain::UserCommand;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Response, Store, TestApp, on_both_stores};

on_both_stores! {
    wrong_email_and_wrong_password_get_the_same_answer
    wrong_email_takes_as_long_as_wrong_password
    deactivation_is_disclosed_only_with_the_right_password
    missing_or_empty_form_field_is_named
    other_grant_types_are_rejected
    non_form_body_lacks_both_fields
    overlong_password_is_invalid_credentials
    malformed_email_is_invalid_credentials
    username_is_not_accepted_as_login
}

const LOGIN: &str = "/auth/login/access-token";

#[track_caller]
fn assert_invalid_credentials(answer: &Response, what: &str) {
    let mut body = answer.error_body(400);
    let description = body.as_object_mut().unwrap().remove("error_description");
    assert!(description.is_some_and(|text| text.is_string()), "{what}: {}", answer.text());
    assert_eq!(
        body,
        json!({
            "detail": "Incorrect email or password",
            "error": "invalid_grant",
            "code": "invalid_credentials",
        }),
        "{what}"
    );
    assert_eq!(answer.header("Cache-Control"), "no-store", "{what}");
}

async fn wrong_email_and_wrong_password_get_the_same_answer(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    let wrong_password = app.log_in("ada@example.com", "not her password").await;
    let wrong_email = app.log_in("bob@example.com", PASSWORD).await;
    assert_invalid_credentials(&wrong_password, "wrong password");
    assert_eq!(wrong_password.error_body(400), wrong_email.error_body(400));
    for header in ["Content-Type", "Content-Length", "Cache-Control", "WWW-Authenticate", "Aegis-Position"] {
        assert_eq!(wrong_password.header(header), wrong_email.header(header), "{header}");
    }
}

async fn wrong_email_takes_as_long_as_wrong_password(store: Store) {
    // Hashing costs that dominate the duration of a login.
    let app = TestApp::start_with(store, |settings| {
        settings.passwords.memory_kib = 16 * 1024;
        settings.passwords.iterations = 4;
    })
    .await;
    app.sign_up("ada").await;
    let mut taken: [Vec<Duration>; 2] = Default::default();
    for _ in 0..7 {
        for (email, taken) in ["ada@example.com", "bob@example.com"].iter().zip(&mut taken) {
            let started = Instant::now();
            app.log_in(email, "not the password").await.expect(400);
            taken.push(started.elapsed());
        }
    }
    // The shortest of each: other work only adds to it.
    let [known, unknown] = taken.map(|taken| taken.iter().min().unwrap().as_secs_f64());
    // Wide bounds for a busy machine: a login that skips the hash is ten times as fast.
    assert!((0.4..2.5).contains(&(known / unknown)), "known {known} s, unknown {unknown} s");
}

async fn deactivation_is_disclosed_only_with_the_right_password(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    app.command(&user.id, UserCommand::Deactivate { reason: None }).await;
    let answer = app.log_in(&user.email, PASSWORD).await;
    let mut body = answer.error_body(400);
    assert!(body.as_object_mut().unwrap().remove("error_description").is_some());
    assert_eq!(body, json!({"detail": "Inactive user", "error": "invalid_grant", "code": "inactive_user"}));
    assert_invalid_credentials(&app.log_in(&user.email, "not her password").await, "wrong password");
}

/// The validation errors of a rejected form with this `error`.
#[track_caller]
fn form_errors(answer: &Response, error: &str) -> Vec<(String, Value)> {
    assert_eq!(answer.error_body(422)["error"], error, "{}", answer.text());
    assert!(!answer.text().contains("battery"), "a password is shown: {}", answer.text());
    answer.validation_error_kinds()
}

async fn missing_or_empty_form_field_is_named(store: Store) {
    let app = TestApp::start(store).await;
    let (name, secret) = (("username", "ada@example.com"), ("password", PASSWORD));
    let (username, password) = (json!(["body", "username"]), json!(["body", "password"]));
    let missing = |place: &Value| ("missing".to_owned(), place.clone());
    let cases: [(&[(&str, &str)], Vec<_>); 6] = [
        (&[], vec![missing(&username), missing(&password)]),
        (&[name], vec![missing(&password)]),
        (&[secret], vec![missing(&username)]),
        // FastAPI treats an empty form field as missing.
        (&[name, ("password", "")], vec![missing(&password)]),
        (&[("username", ""), secret], vec![missing(&username)]),
        (&[("username", ""), ("password", "")], vec![missing(&username), missing(&password)]),
    ];
    for (form, faults) in cases {
        let answer = app.post(LOGIN).form(form).send().await;
        assert_eq!(form_errors(&answer, "invalid_request"), faults, "{form:?}");
        assert!(answer.validation_errors().iter().all(|fault| fault["msg"] == "Field required"));
    }
    let answer = app.post(LOGIN).multipart(&[("username", "ada@example.com")]).send().await;
    assert_eq!(form_errors(&answer, "invalid_request"), vec![missing(&password)]);
}

async fn other_grant_types_are_rejected(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    for grant_type in ["refresh_token", "client_credentials", "Password", " password", "passwordx"] {
        let form = [("username", "ada@example.com"), ("password", PASSWORD), ("grant_type", grant_type)];
        let answer = app.post(LOGIN).form(&form).send().await;
        let faults = form_errors(&answer, "unsupported_grant_type");
        let place = json!(["body", "grant_type"]);
        assert_eq!(faults, vec![("string_pattern_mismatch".to_owned(), place)], "{grant_type}");
    }
}

async fn non_form_body_lacks_both_fields(store: Store) {
    let app = TestApp::start(store).await;
    let json = json!({"username": "ada@example.com", "password": PASSWORD});
    let answers = [
        app.post(LOGIN).json(&json).send().await,
        app.post(LOGIN).body("text/plain", "username=ada%40example.com&password=x").send().await,
        app.post(LOGIN).send().await,
    ];
    for answer in answers {
        let faults = form_errors(&answer, "invalid_request");
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
    for (content_type, body) in [
        ("multipart/form-data", "no boundary"),
        ("multipart/form-data; boundary=x", "not the boundary"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nada",
        ),
        ("application/x-www-form-urlencoded", "username=%FF%FE&password=%00"),
        ("application/x-www-form-urlencoded", "%%%&&&==="),
    ] {
        let answer = app.post(LOGIN).body(content_type, body).send().await;
        assert!((400..500).contains(&answer.status()), "{body}: {}", answer.text());
    }
}

async fn overlong_password_is_invalid_credentials(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    for length in [1025, 4096, 60_000] {
        let answer = app.log_in("ada@example.com", &"x".repeat(length)).await;
        assert_invalid_credentials(&answer, "an overlong password");
    }
    assert_invalid_credentials(&app.log_in("bob@example.com", &"x".repeat(2000)).await, "and a wrong e-mail");
}

async fn malformed_email_is_invalid_credentials(store: Store) {
    let app = TestApp::start(store).await;
    for name in ["ada", "@", "ada@", "a b@example.com", "ada\u{0}@example.com", "😀", &"x".repeat(5000)] {
        assert_invalid_credentials(&app.log_in(name, PASSWORD).await, name);
    }
}

async fn username_is_not_accepted_as_login(store: Store) {
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    assert_invalid_credentials(&app.log_in("ada", PASSWORD).await, "the username");
}
