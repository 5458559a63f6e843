//! `POST /auth/signup`: validation errors, as frontends display them.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Store, TestApp, credentials, on_both_stores};

on_both_stores! {
    missing_field_is_named
    all_validation_errors_are_reported_at_once
    non_string_value_is_a_string_type_error
    invalid_email_is_explained
    invalid_username_is_explained
    username_that_can_imitate_another_is_explained
    invalid_password_is_explained_and_never_echoed
    password_is_never_echoed_as_input
    null_is_not_treated_as_missing
}

async fn validation_errors(app: &TestApp, body: &Value) -> Vec<Value> {
    let answer = app.post("/auth/signup").json(body).send().await;
    assert!(!answer.text().contains(PASSWORD), "a password is shown: {}", answer.text());
    answer.validation_errors()
}

fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut body = credentials("ada");
    body[field] = value.into();
    body
}

async fn missing_field_is_named(store: Store) {
    let app = TestApp::start(store).await;
    for field in ["email", "username", "password"] {
        let mut body = credentials("ada");
        body.as_object_mut().unwrap().remove(field);
        let faults = validation_errors(&app, &body).await;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0]["type"], "missing");
        assert_eq!(faults[0]["loc"], json!(["body", field]));
        assert_eq!(faults[0]["msg"], "Field required");
        // FastAPI echoes the whole body; here the password is left out.
        body.as_object_mut().unwrap().remove("password");
        assert_eq!(faults[0]["input"], body);
    }
}

async fn all_validation_errors_are_reported_at_once(store: Store) {
    let app = TestApp::start(store).await;
    let listed = |faults: Vec<Value>| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        faults.iter().map(|fault| (text(&fault["loc"][1]), text(&fault["type"]))).collect()
    };
    let wanted =
        |list: [(&str, &str); 3]| list.map(|(field, kind)| (field.to_owned(), kind.to_owned())).to_vec();
    assert_eq!(
        listed(validation_errors(&app, &json!({})).await),
        wanted([("email", "missing"), ("username", "missing"), ("password", "missing")])
    );
    assert_eq!(
        listed(validation_errors(&app, &json!({"email": "ada", "username": " ", "password": "short"})).await),
        wanted([
            ("email", "value_error"),
            ("username", "string_too_short"),
            ("password", "string_too_short")
        ])
    );
    assert_eq!(
        listed(validation_errors(&app, &json!({"email": 1, "username": "x".repeat(65)})).await),
        wanted([("email", "string_type"), ("username", "string_too_long"), ("password", "missing")])
    );
}

async fn non_string_value_is_a_string_type_error(store: Store) {
    let app = TestApp::start(store).await;
    for field in ["email", "username", "password"] {
        for value in [json!(1), json!(1.5), json!(true), json!([]), json!({}), json!(["ada@example.com"])] {
            let faults = validation_errors(&app, &with(field, value.clone())).await;
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0]["type"], "string_type", "{field} {value}");
            assert_eq!(faults[0]["loc"], json!(["body", field]));
            assert_eq!(faults[0]["msg"], "Input should be a valid string");
            if field != "password" {
                assert_eq!(faults[0]["input"], value);
            }
        }
    }
}

async fn invalid_email_is_explained(store: Store) {
    let app = TestApp::start(store).await;
    for (email, why) in [
        ("ada", Some("An email address must have an @-sign.")),
        ("", Some("An email address must have an @-sign.")),
        ("@example.com", Some("There must be something before the @-sign.")),
        ("ada@", Some("There must be something after the @-sign.")),
        ("ada@@example.com", None),
        ("ada lovelace@example.com", None),
        ("ada@example", None),
        ("ada@-example.com", None),
        ("ada\u{0}@example.com", None),
        (".ada@example.com", None),
        ("ada@example..com", None),
        ("ada@[127.0.0.1]", None),
        ("ada\r\nBcc: bob@example.com", None),
    ] {
        let faults = validation_errors(&app, &with("email", email)).await;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0]["type"], "value_error", "{email}");
        assert_eq!(faults[0]["loc"], json!(["body", "email"]));
        assert_eq!(faults[0]["input"], email);
        let reason = faults[0]["ctx"]["reason"].as_str().unwrap();
        assert_eq!(faults[0]["msg"], format!("value is not a valid email address: {reason}"));
        assert_eq!(reason, why.unwrap_or(reason), "{email}");
    }
    let of = |first: usize| {
        let domain = ["b".repeat(first), "b".repeat(61), "b".repeat(61), "com".to_owned()].join(".");
        format!("{}@{domain}", "a".repeat(64))
    };
    let (longest, too_long) = (of(61), of(62));
    assert_eq!((longest.len(), too_long.len()), (254, 255));
    assert_eq!(validation_errors(&app, &with("email", too_long)).await[0]["type"], "value_error");
    app.post("/auth/signup").json(&with("email", longest)).send().await.expect(201);
}

async fn invalid_username_is_explained(store: Store) {
    let app = TestApp::start(store).await;
    for (username, kind, msg) in [
        (String::new(), "string_too_short", "String should have at least 1 character"),
        (" \t ".to_owned(), "string_too_short", "String should have at least 1 character"),
        ("\u{200B}\u{200D}".to_owned(), "string_too_short", "String should have at least 1 character"),
        ("x".repeat(65), "string_too_long", "String should have at most 64 characters"),
    ] {
        let faults = validation_errors(&app, &with("username", username.as_str())).await;
        assert_eq!((faults[0]["type"].as_str(), faults[0]["msg"].as_str()), (Some(kind), Some(msg)));
        assert_eq!(faults[0]["loc"], json!(["body", "username"]));
        let bound = if kind == "string_too_short" { ("min_length", 1) } else { ("max_length", 64) };
        assert_eq!(faults[0]["ctx"][bound.0], bound.1);
    }
    for hidden in ["a\u{0}da", "a\u{7}da", "a\u{202E}da", "a\u{2066}da", "a\nda", "a\u{2028}da"] {
        let faults = validation_errors(&app, &with("username", hidden)).await;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0]["type"], "string_pattern_mismatch", "{}", hidden.escape_unicode());
    }
}

/// The rules of UTS 39 at the level "highly restrictive".
async fn username_that_can_imitate_another_is_explained(store: Store) {
    let app = TestApp::start(store).await;
    let mixed = "its characters are not at the restriction level `highly-restrictive` of UTS 39; use the letters of one script";
    for (username, reason) in [
        ("аda", mixed),
        ("αda", mixed),
        ("ada\u{2800}", "the character U+2800 is not allowed in identifiers (UTS 39)"),
        ("ada\u{378}", "the character U+0378 is not allowed in identifiers (UTS 39)"),
        ("ada\u{E000}", "the character U+E000 is not allowed in identifiers (UTS 39)"),
        ("ada😀", "the character U+1F600 is not allowed in identifiers (UTS 39)"),
        ("\u{301}ada", "the combining mark U+0301 has no letter to combine with, or is repeated"),
    ] {
        let faults = validation_errors(&app, &with("username", username)).await;
        assert_eq!(
            faults,
            [json!({"type": "value_error", "loc": ["body", "username"], "input": username,
                "msg": format!("value is not a valid username: {reason}"), "ctx": {"reason": reason}})]
        );
    }
}

async fn invalid_password_is_explained_and_never_echoed(store: Store) {
    let app = TestApp::start(store).await;
    for (password, kind, msg, bound) in [
        ("Sesame7".to_owned(), "string_too_short", "String should have at least 8 characters", "min_length"),
        (
            "éèêëìíîï"[..14].to_owned(),
            "string_too_short",
            "String should have at least 8 characters",
            "min_length",
        ),
        (
            "Sesame!".repeat(147),
            "string_too_long",
            "String should have at most 1024 characters",
            "max_length",
        ),
    ] {
        let answer = app.post("/auth/signup").json(&with("password", password.as_str())).send().await;
        assert!(!answer.text().contains(&password[..6]), "a password is shown: {}", answer.text());
        let faults = answer.validation_errors();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!((faults[0]["type"].as_str(), faults[0]["msg"].as_str()), (Some(kind), Some(msg)));
        assert_eq!(faults[0]["loc"], json!(["body", "password"]));
        assert_eq!(faults[0]["ctx"][bound], if bound == "min_length" { 8 } else { 1024 });
    }
}

async fn password_is_never_echoed_as_input(store: Store) {
    let app = TestApp::start(store).await;
    let secret = "Swordfish-1937";
    let bodies = [
        json!({"password": secret}),
        json!({"password": secret, "email": "ada@example.com"}),
        json!({"password": [secret], "email": 1}),
        json!({"password": {"deep": {"password": secret}}, "username": "ada"}),
        json!({"email": {"password": secret}, "username": "ada", "password": secret}),
        json!({"email": [{"a": {"password": secret}}], "username": "ada", "password": secret}),
        json!({"password": secret, "extra": {"password": secret, "list": [{"password": secret}]}}),
        json!([{"password": secret}]),
        json!([[{"password": [secret]}]]),
    ];
    for body in bodies {
        let answer = app.post("/auth/signup").json(&body).send().await;
        assert!(!answer.text().contains("Swordfish"), "{body} gave {}", answer.text());
        assert!(!answer.validation_errors().is_empty());
    }
}

async fn null_is_not_treated_as_missing(store: Store) {
    let app = TestApp::start(store).await;
    for field in ["email", "username", "password"] {
        assert_eq!(
            validation_errors(&app, &with(field, Value::Null)).await[0]["type"],
            "string_type",
            "{field}"
        );
    }
}
