//! Query parameters and paths: nothing that a client asks for is passed over in silence.

use domain::Role;
use serde_json::{Value, json};

use crate::support::{Store, TestApp, credentials, on_both_stores};

on_both_stores! {
    unknown_parameter_is_rejected_with_the_nearest_one
    empty_filter_is_rejected
    legacy_endpoints_ignore_unknown_parameters
    repeated_types_are_a_list_and_a_misspelt_one_is_rejected
    times_at_the_end_of_the_calendar_and_with_long_fractions_are_accepted
    percent_encoded_unreserved_characters_in_paths_are_equivalent
}

async fn unknown_parameter_is_rejected_with_the_nearest_one(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    for (path, nearest) in [
        ("/events?limt=1".to_owned(), json!("limit")),
        ("/events/stream?type=UserErased".to_owned(), json!("types")),
        ("/stats?form=2026-11-22".to_owned(), json!("from")),
        ("/webhooks?limits=1".to_owned(), json!("limit")),
        (format!("/users/{}?asof=1", user.id), json!("as_of")),
        (format!("/users/{}/events?limit=1", user.id), Value::Null),
        ("/projections?name=users".to_owned(), Value::Null),
        ("/log/checkpoint?x".to_owned(), Value::Null),
        ("/users/me/export?format=csv".to_owned(), Value::Null),
        ("/health/ready?verbose".to_owned(), Value::Null),
        ("/metrics?x=1".to_owned(), Value::Null),
    ] {
        let errors = admin.get(&path).send().await.validation_errors();
        let name = path.split(['?', '=']).nth(1).unwrap();
        assert_eq!(
            (&errors[0]["type"], &errors[0]["loc"], &errors[0]["ctx"]["nearest"]),
            (&json!("extra_forbidden"), &json!(["query", name]), &nearest),
            "{path}"
        );
    }
    admin.deactivate(&user.id).send().await.expect(200);
    let head = app.head().await;
    admin.post(&format!("/users/{}/reactivate?dry_run=1", user.id)).send().await.expect(422);
    assert_eq!(app.head().await, head);
    // Who may not ask at all does not learn what the parameters are.
    let plain = app.sign_up("bob").await;
    assert_eq!(plain.get("/events?limt=1").send().await.code(403), "forbidden");
    app.get("/events?limt=1").send().await.expect(401);
}

/// It would select everything.
async fn empty_filter_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    for (path, kind, name) in [
        ("/events?stream=", "string_pattern_mismatch", "stream"),
        ("/events?actor=", "string_too_short", "actor"),
        ("/webhooks?after=", "string_pattern_mismatch", "after"),
    ] {
        let errors = admin.get(path).send().await.validation_error_kinds();
        assert_eq!(errors, [(kind.to_owned(), json!(["query", name]))], "{path}");
    }
}

async fn legacy_endpoints_ignore_unknown_parameters(store: Store) {
    let app = TestApp::start(store).await;
    app.post("/auth/signup?utm_source=x").json(&credentials("ada")).send().await.expect(201);
    let ada = app.sign_up("bob").await;
    ada.get("/users/me?t=1").send().await.expect(200);
    app.get("/health?t=1").send().await.expect(200);
}

async fn repeated_types_are_a_list_and_a_misspelt_one_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    app.user_with(Role::Auditor).await;
    let types = async |query: &str| {
        let page = admin.get(&format!("/events?{query}")).send().await.expect(200).json();
        let events = page["events"].as_array().unwrap().iter();
        events
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let both = types("types=UserRegistered,RoleGranted").await;
    assert_eq!(both.len(), 2);
    assert_eq!(types("types=UserRegistered&types=RoleGranted").await, both);
    for path in ["/events?types=UserRegistered,RoleGrantd", "/events/stream?types=RoleGrantd"] {
        let errors = admin.get(path).send().await.validation_errors();
        assert_eq!(
            (&errors[0]["loc"], &errors[0]["input"]),
            (&json!(["query", "types"]), &json!("RoleGrantd"))
        );
        assert!(errors[0]["msg"].as_str().unwrap().contains("'RoleGranted'"), "{}", errors[0]);
    }
    let errors = admin.get("/events?limit=1&limit=2").send().await.validation_errors();
    assert_eq!(errors[0]["loc"], json!(["query", "limit"]));
}

async fn times_at_the_end_of_the_calendar_and_with_long_fractions_are_accepted(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let all = admin.get("/events").send().await.expect(200).json();
    for query in ["to=9999-12-31T23:59:59Z", "from=2020-01-01T00:00:00.12345678901234Z"] {
        let page = admin.get(&format!("/events?{query}")).send().await.expect(200).json();
        assert_eq!(page["events"], all["events"], "{query}");
    }
    let path = format!("/users/{}?as_of=9999-12-31T23:59:59.9999999999Z", user.id);
    assert_eq!(admin.get(&path).send().await.expect(200).json()["username"], "ada");
}

async fn percent_encoded_unreserved_characters_in_paths_are_equivalent(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    user.get("/users/%6De").send().await.expect(200);
    let id = user.id.replace('-', "%2D");
    assert_eq!(admin.get(&format!("/users/{id}")).send().await.expect(200).json()["id"], json!(user.id));
    let deactivate = async |path: &str| {
        let request = admin.post(path).header("Idempotency-Key", "k");
        request.send().await.expect(200).position()
    };
    let first = deactivate(&format!("/users/{}/deactivate", user.id)).await;
    admin.reactivate(&user.id).send().await.expect(200);
    assert_eq!(
        deactivate(&format!("/users/{id}/de%61ctivate")).await,
        first,
        "the same key, the same request"
    );
    user.get("/users%2Fme").send().await.expect(404);
}
