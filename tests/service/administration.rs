//! Administration of users: `/users/{id}`, deactivation, reactivation, roles.

use domain::Role;
use jiff::Timestamp;
use serde_json::json;

use crate::support::{PASSWORD, Store, TestApp, on_both_stores};

on_both_stores! {
    user_resource_has_roles_version_and_position
    deactivation_revokes_tokens_and_reactivation_admits_new_ones
    no_op_commands_append_no_event
    mismatched_if_match_version_is_rejected
    reason_is_optional_and_recorded
    reason_length_is_limited
    roles_are_granted_and_revoked_and_unknown_roles_rejected
    last_administrator_cannot_be_removed
    unknown_user_is_not_found
}

async fn user_resource_has_roles_version_and_position(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    app.grant(&user, Role::Auditor).await;
    app.grant(&user, Role::Subscriber).await;
    let answer = admin.get(&format!("/users/{}", user.id)).send().await.expect(200);
    let mut body = answer.json();
    let created_at = body.as_object_mut().unwrap().remove("created_at").unwrap();
    assert!(created_at.as_str().unwrap().parse::<Timestamp>().is_ok());
    let expected = json!({
        "id": user.id, "email": "ada@example.com", "email_verified": false, "username": "ada", "is_active": true,
        "roles": ["auditor", "subscriber"], "version": 3, "position": app.head().await,
    });
    assert_eq!(body, expected);
    assert_eq!(answer.header("ETag"), "\"3\"");
}

async fn deactivation_revokes_tokens_and_reactivation_admits_new_ones(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let answer = admin.deactivate(&user.id).send().await.expect(200);
    assert_eq!((&answer.json()["id"], &answer.json()["is_active"]), (&json!(user.id), &json!(false)));
    assert_eq!(app.me(&user.token).await.code(403), "inactive_user");
    assert_eq!(app.log_in(&user.email, PASSWORD).await.code(400), "inactive_user");
    let answer = admin.reactivate(&user.id).send().await.expect(200);
    assert_eq!(answer.json()["is_active"], json!(true));
    assert_eq!(app.me(&user.token).await.code(403), "token_revoked");
    app.me(&app.token_of(&user.email).await).await.expect(200);
}

async fn no_op_commands_append_no_event(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let before = app.head().await;
    assert_eq!(admin.reactivate(&user.id).send().await.expect(200).json()["is_active"], json!(true));
    assert_eq!(app.head().await, before);
    admin.deactivate(&user.id).send().await.expect(200);
    for _ in 0..3 {
        assert_eq!(admin.deactivate(&user.id).send().await.expect(200).json()["is_active"], json!(false));
    }
    assert_eq!(app.head().await, before + 1);
    for _ in 0..3 {
        admin.put(&format!("/users/{}/roles/auditor", user.id)).send().await.expect(204);
    }
    assert_eq!(app.head().await, before + 2);
    for _ in 0..3 {
        admin.delete(&format!("/users/{}/roles/auditor", user.id)).send().await.expect(204);
    }
    assert_eq!(app.head().await, before + 3);
}

async fn mismatched_if_match_version_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    for stale in ["\"2\"", "\"0\"", "\"99\""] {
        let body = admin.deactivate(&user.id).header("If-Match", stale).send().await.error_body(412);
        assert!(body["code"].is_string() && body["detail"].is_string(), "{body}");
    }
    assert_eq!(admin.look_up(&user.id).await["is_active"], json!(true));
    admin.deactivate(&user.id).header("If-Match", "\"1\"").send().await.expect(200);
    admin.reactivate(&user.id).header("If-Match", "\"1\"").send().await.error_body(412);
    admin.reactivate(&user.id).header("If-Match", "*").send().await.expect(200);
    for nonsense in ["x", "1\"", "\"x\"", "\"-1\"", "W/\"3\""] {
        let answer = admin.deactivate(&user.id).header("If-Match", nonsense).send().await;
        assert!([400, 412, 422].contains(&answer.status()), "{nonsense}: {}", answer.text());
    }
}

async fn reason_is_optional_and_recorded(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    for (action, body) in [("deactivate", json!({"reason": "left us"})), ("reactivate", json!({}))] {
        admin.post(&format!("/users/{}/{action}", user.id)).json(&body).send().await.expect(200);
    }
    let path = format!("/events?stream=user-{}", user.id);
    let events = admin.get(&path).send().await.expect(200).json()["events"].clone();
    assert_eq!(
        (&events[1]["type"], &events[1]["data"]["reason"]),
        (&json!("UserDeactivated"), &json!("left us"))
    );
    assert_eq!((&events[2]["type"], events[2]["data"].get("reason")), (&json!("UserReactivated"), None));
}

async fn reason_length_is_limited(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    for action in ["deactivate", "reactivate"] {
        let path = format!("/users/{}/{action}", user.id);
        for (body, kind) in [
            (json!({"reason": 1}), "string_type"),
            (json!({"reason": ""}), "string_too_short"),
            (json!({"reason": " \n "}), "string_too_short"),
            (json!({"reason": "x".repeat(501)}), "string_too_long"),
            (json!({"reason": "a\u{7}b"}), "string_pattern_mismatch"),
            (json!([]), "model_attributes_type"),
        ] {
            let faults = admin.post(&path).json(&body).send().await.validation_errors();
            assert_eq!(faults[0]["type"], kind, "{body}");
        }
    }
    assert_eq!(admin.look_up(&user.id).await["version"], 1);
    let longest = json!({"reason": "é".repeat(500)});
    admin.post(&format!("/users/{}/deactivate", user.id)).json(&longest).send().await.expect(200);
}

async fn roles_are_granted_and_revoked_and_unknown_roles_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    for role in Role::ALL {
        let answer = admin.put(&format!("/users/{}/roles/{role}", user.id)).send().await.expect(204);
        assert_eq!((answer.text().as_str(), answer.position()), ("", app.head().await));
    }
    let roles = || async { admin.look_up(&user.id).await["roles"].clone() };
    assert_eq!(roles().await, json!(["admin", "auditor", "operator", "service", "subscriber"]));
    for role in [Role::Auditor, Role::Operator] {
        admin.delete(&format!("/users/{}/roles/{role}", user.id)).send().await.expect(204);
    }
    assert_eq!(roles().await, json!(["admin", "service", "subscriber"]));
    for unknown in ["root", "Admin", "admin%20", "%00", "a%2Fb"] {
        let answer = admin.put(&format!("/users/{}/roles/{unknown}", user.id)).send().await;
        assert!([404, 422].contains(&answer.status()), "{unknown}: {}", answer.text());
    }
}

async fn last_administrator_cannot_be_removed(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let removed = |path: String| admin.delete(&path);
    let own_role = format!("/users/{}/roles/admin", admin.id);
    assert_eq!(removed(own_role.clone()).send().await.code(409), "last_admin");
    assert_eq!(admin.deactivate(&admin.id).send().await.code(409), "last_admin");
    let itself = admin.post("/users/me/deactivate").json(&json!({"password": PASSWORD})).send().await;
    assert_eq!(itself.code(409), "last_admin");
    // A deactivated administrator does not count.
    let other = app.sign_up("other").await;
    app.grant(&other, Role::Admin).await;
    admin.deactivate(&other.id).send().await.expect(200);
    assert_eq!(removed(own_role.clone()).send().await.code(409), "last_admin");
    admin.reactivate(&other.id).send().await.expect(200);
    removed(own_role).send().await.expect(204);
    let last = app.token_of(&other.email).await;
    let path = format!("/users/{}/deactivate", other.id);
    let answer = app.post(&path).bearer(&last).json(&json!({"reason": "x"})).send().await;
    assert_eq!(answer.code(409), "last_admin");
    app.get("/events").bearer(&last).send().await.expect(200);
}

async fn unknown_user_is_not_found(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    for id in ["0193e2b4-0000-7000-8000-000000000001", "65a1b2c3d4e5f60718293a4b"] {
        assert_eq!(
            admin.get(&format!("/users/{id}")).send().await.error_body(404)["detail"],
            "User not found"
        );
        assert_eq!(admin.deactivate(id).send().await.error_body(404)["detail"], "User not found");
        assert_eq!(admin.reactivate(id).send().await.error_body(404)["detail"], "User not found");
        admin.put(&format!("/users/{id}/roles/admin")).send().await.error_body(404);
        admin.delete(&format!("/users/{id}/roles/admin")).send().await.error_body(404);
    }
    for id in ["nonsense", "%00", "..%2f..%2fetc", "0193e2b4000070008000000000000001", "😀"] {
        let answer = admin.get(&format!("/users/{id}")).send().await;
        assert!([404, 422].contains(&answer.status()), "{id}: {}", answer.text());
        let answer = admin.deactivate(id).send().await;
        assert!([404, 422].contains(&answer.status()), "{id}: {}", answer.text());
    }
}
