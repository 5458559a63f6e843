//! Deactivation of the own account: `POST /users/me/deactivate`.

use serde_json::json;

use crate::support::{PASSWORD, Store, TestApp, User, on_both_stores};

on_both_stores! {
    self_deactivation_revokes_access_at_once
    self_deactivation_requires_the_right_password
    self_deactivation_requires_a_password
}

async fn deactivate(user: &User, body: &serde_json::Value) -> crate::support::Response {
    user.post("/users/me/deactivate").json(body).send().await
}

async fn self_deactivation_revokes_access_at_once(store: Store) {
    let app = TestApp::start(store).await;
    let (user, admin) = (app.sign_up("ada").await, app.admin().await);
    let second = app.token_of(&user.email).await;
    let answer = deactivate(&user, &json!({"password": PASSWORD})).await.expect(204);
    assert_eq!(answer.text(), "");
    for token in [&user.token, &second] {
        assert_eq!(app.me(token).await.code(403), "inactive_user");
    }
    assert_eq!(app.log_in(&user.email, PASSWORD).await.code(400), "inactive_user");
    let log = admin.whole_log().await;
    let event = log.last().unwrap();
    assert_eq!((&event["type"], &event["position"]), (&json!("UserDeactivated"), &json!(answer.position())));
    assert_eq!((&event["actor"], &event["data"]), (&json!(format!("user-{}", user.id)), &json!({})));
}

async fn self_deactivation_requires_the_right_password(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    for wrong in ["wrong", "", &PASSWORD.to_uppercase(), &"x".repeat(2000)] {
        let answer = deactivate(&user, &json!({"password": wrong})).await;
        assert_eq!(answer.code(400), "wrong_password", "{wrong}");
        assert!(!answer.text().contains("BATTERY"), "a password is shown: {}", answer.text());
    }
    user.get("/users/me").send().await.expect(200);
}

async fn self_deactivation_requires_a_password(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    let kind = async |body| deactivate(&user, &body).await.validation_error_kinds().remove(0);
    let place = json!(["body", "password"]);
    assert_eq!(kind(json!({})).await, ("missing".to_owned(), place.clone()));
    assert_eq!(kind(json!({"password": 1})).await, ("string_type".to_owned(), place));
    assert_eq!(kind(json!([])).await, ("model_attributes_type".to_owned(), json!(["body"])));
    app.post("/users/me/deactivate").json(&json!({"password": PASSWORD})).send().await.expect(401);
    user.get("/users/me").send().await.expect(200);
}
