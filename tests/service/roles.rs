//! Authorization by roles.

use domain::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Request, Store, TestApp, User, on_both_stores};

on_both_stores! {
    every_endpoint_requires_its_role
    own_account_endpoints_require_no_role
    granted_role_takes_effect_immediately
    authorization_precedes_request_validation
    deactivated_administrator_has_no_authority
}

/// Method, path, body, the permitted roles, and the status they get.
type Endpoint = (Method, String, Option<Value>, &'static [Role], u16);

fn endpoints(id: &str) -> Vec<Endpoint> {
    use Role::{Admin, Auditor, Subscriber};
    let reason = || Some(json!({"reason": "requested by a test"}));
    vec![
        (Method::GET, format!("/users/{id}"), None, &[Admin, Auditor], 200),
        (Method::GET, "/events".to_owned(), None, &[Admin, Auditor, Subscriber], 200),
        (Method::GET, "/events/stream?after=0".to_owned(), None, &[Admin, Auditor, Subscriber], 200),
        (Method::POST, format!("/users/{id}/deactivate"), reason(), &[Admin], 200),
        (Method::POST, format!("/users/{id}/reactivate"), reason(), &[Admin], 200),
        (Method::PUT, format!("/users/{id}/roles/auditor"), None, &[Admin], 204),
        (Method::DELETE, format!("/users/{id}/roles/auditor"), None, &[Admin], 204),
    ]
}

/// The status, and the body of an error.
async fn outcome(request: Request) -> (u16, Value) {
    let answer = request.send().await;
    let body = if answer.status() >= 400 { answer.error_body(answer.status()) } else { Value::Null };
    (answer.status(), body)
}

async fn every_endpoint_requires_its_role(store: Store) {
    let app = TestApp::start(store).await;
    let target = app.sign_up("target").await;
    let plain = app.sign_up("plain").await;
    let mut holders = Vec::new();
    for role in Role::ALL {
        holders.push((role, app.user_with(role).await));
    }
    for (method, path, body, allowed, good) in endpoints(&target.id) {
        let what = format!("{method} {path}");
        let send = |user: Option<&User>| {
            let mut request = app.request(method.clone(), &path);
            if let Some(user) = user {
                request = request.bearer(&user.token);
            }
            outcome(if let Some(body) = &body { request.json(body) } else { request })
        };
        let (status, answer) = send(None).await;
        assert_eq!((status, &answer["detail"]), (401, &json!("Not authenticated")), "{what} without a token");
        let (status, answer) = send(Some(&plain)).await;
        assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{what} of a plain user");
        for (role, user) in &holders {
            let (status, answer) = send(Some(user)).await;
            if allowed.contains(role) {
                assert_eq!(status, good, "{what} of {role}: {answer}");
            } else {
                assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{what} of {role}");
            }
        }
    }
}

async fn own_account_endpoints_require_no_role(store: Store) {
    let app = TestApp::start(store).await;
    let plain = app.sign_up("plain").await;
    plain.get("/users/me").send().await.expect(200);
    // `/users/{id}` requires a role even for the own id.
    assert_eq!(plain.get(&format!("/users/{}", plain.id)).send().await.code(403), "forbidden");
}

async fn granted_role_takes_effect_immediately(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    user.get("/events").send().await.expect(403);
    admin.put(&format!("/users/{}/roles/auditor", user.id)).send().await.expect(204);
    user.get("/events").send().await.expect(200);
    admin.delete(&format!("/users/{}/roles/auditor", user.id)).send().await.expect(204);
    assert_eq!(user.get("/events").send().await.code(403), "token_revoked");
    let fresh = app.token_of(&user.email).await;
    assert_eq!(app.get("/events").bearer(&fresh).send().await.code(403), "forbidden");
}

async fn authorization_precedes_request_validation(store: Store) {
    let app = TestApp::start(store).await;
    let plain = app.sign_up("plain").await;
    let unknown = "0193e2b4-0000-7000-8000-000000000001";
    for path in [format!("/users/{unknown}/deactivate"), "/users/nonsense/deactivate".to_owned()] {
        let sent = |request: Request| request.body("application/json", "nonsense").send();
        assert_eq!(sent(plain.post(&path)).await.code(403), "forbidden", "{path}");
        sent(app.post(&path)).await.expect(401);
    }
    assert_eq!(plain.get(&format!("/users/{unknown}")).send().await.code(403), "forbidden");
    assert_eq!(plain.get("/events?after=nonsense").send().await.code(403), "forbidden");
    assert_eq!(plain.put(&format!("/users/{unknown}/roles/nonsense")).send().await.code(403), "forbidden");
}

async fn deactivated_administrator_has_no_authority(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let other = app.sign_up("other").await;
    app.grant(&other, Role::Admin).await;
    other.get("/events").send().await.expect(200);
    admin.deactivate(&other.id).send().await.expect(200);
    assert_eq!(other.get("/events").send().await.code(403), "inactive_user");
}
