//! Conditional requests (RFC 9110 §13), evaluated alike for everything that has a representation.

use domain::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Request, Store, TestApp, User, WebhookReceiver, eventually, on_both_stores};

on_both_stores! {
    conditions_are_evaluated_before_every_write
    list_of_tags_and_excluded_tags_are_compared
    known_representation_is_answered_with_304
    deliveries_do_not_invalidate_the_tag_of_a_webhook_for_writes
}

/// Every write to a user or webhook that exists.
fn writes(admin: &User, user: &User, webhook: &str) -> Vec<Request> {
    let password = json!({"password": PASSWORD});
    let path = |action: &str| format!("/users/{}/{action}", user.id);
    let hook = |action: &str| format!("/webhooks/{webhook}{action}");
    vec![
        admin.put(&path("roles/auditor")),
        admin.delete(&path("roles/subscriber")),
        admin.post(&path("deactivate")),
        admin.post(&path("reactivate")),
        admin.post(&path("unlock")),
        admin.post(&path("erase")).json(&json!({"reason": "request"})),
        user.post("/users/me/deactivate").json(&password),
        user.delete("/users/me").json(&password),
        user.post(&hook("/rotate-secret")),
        user.post(&hook("/replay")).json(&json!({"from": 1, "to": 1})),
        user.delete(&hook("/replays")),
        user.post(&hook("/resume")),
        user.delete(&hook("")),
    ]
}

async fn registered_webhook(user: &User, receiver: &WebhookReceiver) -> String {
    let body = json!({"url": receiver.url("127.0.0.1"), "after": 0});
    let made = user.post("/webhooks").json(&body).send().await.expect(201);
    assert!(made.header("ETag").starts_with("\"1-"), "{}", made.header("ETag"));
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn conditions_are_evaluated_before_every_write(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.user_with(Role::Subscriber).await);
    let receiver = WebhookReceiver::start().await;
    let webhook = registered_webhook(&user, &receiver).await;
    let before = app.head().await;
    for (header, value) in [("If-Match", "\"99\""), ("If-None-Match", "*")] {
        for request in writes(&admin, &user, &webhook) {
            assert_eq!(request.header(header, value).send().await.code(412), "version_mismatch");
        }
    }
    assert_eq!(app.head().await, before, "nothing was written");
    user.get("/users/me").send().await.expect(200);
}

async fn list_of_tags_and_excluded_tags_are_compared(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.sign_up("ada").await);
    let shown = user.get("/users/me").send().await.expect(200);
    assert_eq!(shown.header("ETag"), "\"1\"");
    admin.deactivate(&user.id).header("If-Match", "\"7\", \"1\"").send().await.expect(200);
    admin
        .reactivate(&user.id)
        .header("If-Match", "\"7\"")
        .header("If-Match", "\"2\"")
        .send()
        .await
        .expect(200);
    admin.deactivate(&user.id).header("If-Match", "W/\"3\"").send().await.error_body(412);
    admin.deactivate(&user.id).header("If-None-Match", "\"3\"").send().await.error_body(412);
    admin.deactivate(&user.id).header("If-None-Match", "\"2\"").send().await.expect(200);
}

async fn known_representation_is_answered_with_304(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, user) = (app.admin().await, app.user_with(Role::Subscriber).await);
    let receiver = WebhookReceiver::start().await;
    let webhook = registered_webhook(&user, &receiver).await;
    // The representation changes with each delivery.
    let (path, head) = (format!("/webhooks/{webhook}"), app.head().await);
    eventually("all deliveries", async || {
        let shown = user.get(&path).send().await.expect(200).json();
        (shown["position"] == json!(head)).then_some(())
    })
    .await;
    let paths = [
        (&user, "/users/me".to_owned()),
        (&admin, format!("/users/{}", user.id)),
        (&admin, format!("/users/{}?as_of={head}", user.id)),
        (&user, format!("/webhooks/{webhook}")),
    ];
    for (reader, path) in paths {
        let shown = reader.get(&path).send().await.expect(200);
        let tag = shown.header("ETag").to_owned();
        let weak = format!("\"0\", W/{tag}");
        for method in [Method::GET, Method::HEAD] {
            let again = reader.request(method, &path).header("If-None-Match", &weak).send().await.expect(304);
            assert_eq!((again.text().as_str(), again.header("ETag")), ("", tag.as_str()), "{path}");
        }
        let other = reader.get(&path).header("If-None-Match", "\"0\"").send().await.expect(200);
        assert_eq!(other.json(), shown.json(), "{path}");
    }
    admin.put(&format!("/users/{}/roles/auditor", user.id)).send().await.expect(204);
    let stale = admin.get(&format!("/users/{}", user.id)).header("If-None-Match", "\"2\"").send().await;
    assert_eq!(stale.expect(200).json()["roles"], json!(["auditor", "subscriber"]));
}

async fn deliveries_do_not_invalidate_the_tag_of_a_webhook_for_writes(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.user_with(Role::Subscriber).await;
    let receiver = WebhookReceiver::start().await;
    let webhook = registered_webhook(&user, &receiver).await;
    let path = format!("/webhooks/{webhook}");
    receiver.wait_for_accepted(1).await;
    let show = async || user.get(&path).send().await.expect(200);
    let first = show().await;
    app.sign_up("ada").await;
    let position = |shown: &Value| shown["position"].as_u64().unwrap();
    let later = eventually("progress of the webhook", async || {
        Some(show().await).filter(|later| position(&later.json()) > position(&first.json()))
    })
    .await;
    assert_ne!(later.header("ETag"), first.header("ETag"), "the representation has changed");
    user.delete(&path).header("If-Match", first.header("ETag")).send().await.expect(204);
}
