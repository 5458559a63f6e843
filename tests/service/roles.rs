//! Authorization by roles. `attackers` has the roles that each route requires.

use crate::support::{Request, Store, TestApp, on_both_stores};

on_both_stores! {
    own_account_endpoints_require_no_role
    granted_role_takes_effect_immediately
    authorization_precedes_request_validation
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
