//! Ownership of webhooks, and what happens to them when the owner loses authorization or is erased.

use domain::{ErasureReason, Role, UserCommand};
use serde_json::json;

use super::{Webhook, sign_ups};
use crate::support::{Reply, Store, TestApp, WebhookReceiver, credentials, eventually, on_both_stores};

on_both_stores! {
    owner_without_the_role_gets_no_later_events
    webhooks_of_an_erased_owner_are_deleted
    suspended_webhooks_of_an_erased_owner_are_deleted
    personal_data_export_includes_webhooks
    foreign_webhook_is_not_found_except_for_administrators
    webhooks_require_the_subscriber_role
    deliveries_never_contain_personal_values
}

async fn owner_without_the_role_gets_no_later_events(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let admin = app.admin().await;
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 1).await;
    receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    app.command(&subscriber.id, UserCommand::RevokeRole { role: Role::Subscriber }).await;
    sign_ups(&app, "later", 3).await;
    let path = format!("/webhooks/{}", webhook.id);
    let suspended = eventually("a suspended webhook", async || {
        Some(admin.get(&path).send().await.expect(200).json()).filter(|shown| shown["state"] == "suspended")
    })
    .await;
    assert_eq!(suspended["suspended"], "owner");
    assert!(receiver.deliveries().iter().all(|delivery| delivery.position() <= last));
    // With the role granted again, resuming continues at the cursor.
    app.grant(&subscriber, Role::Subscriber).await;
    admin.post(&format!("{path}/resume")).send().await.expect(200);
    let head = app.head().await;
    let accepted = receiver.wait_for_accepted(usize::try_from(head).unwrap()).await;
    assert!(
        accepted
            .iter()
            .map(crate::support::ReceivedDelivery::position)
            .take(usize::try_from(head).unwrap())
            .eq(1..=head)
    );
}

async fn webhooks_of_an_erased_owner_are_deleted(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let admin = app.admin().await;
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    receiver.wait_for_accepted(1).await;
    app.command(&subscriber.id, UserCommand::Erase { reason: ErasureReason::Request }).await;
    sign_ups(&app, "later", 1).await;
    eventually("a deleted webhook", async || {
        let answer = admin.get(&format!("/webhooks/{}", webhook.id)).send().await;
        (answer.status() == 404).then_some(())
    })
    .await;
    let log = admin.whole_log().await;
    let registered = log.iter().find(|event| event["type"] == "WebhookRegistered").unwrap();
    assert_eq!(registered["data"]["erased"], true, "its address and its secret are destroyed");
    eventually("the cleanup", async || {
        let stream = store::StreamId::new(format!("webhook-{}", webhook.id)).unwrap();
        let left = app.services().deliveries.attempts(&stream, None, 10).await.unwrap();
        left.is_empty().then_some(())
    })
    .await;
}

async fn suspended_webhooks_of_an_erased_owner_are_deleted(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let admin = app.admin().await;
    let idle = json!({"url": receiver.url("127.0.0.1"), "types": ["UserImported"]});
    Webhook::of(&subscriber, &idle).await;
    receiver.set_default_reply(Reply::Status(410));
    let suspended = Webhook::register(&subscriber, &receiver, 0).await;
    eventually("a suspended webhook", async || {
        (suspended.show().await["state"] == "suspended").then_some(())
    })
    .await;
    app.command(&subscriber.id, UserCommand::Erase { reason: ErasureReason::Request }).await;
    eventually("no webhooks", async || {
        let left = admin.get("/webhooks").send().await.expect(200).json();
        (left == json!({"webhooks": []})).then_some(())
    })
    .await;
}

async fn personal_data_export_includes_webhooks(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, ada, bob) =
        (WebhookReceiver::start().await, app.sign_up("ada").await, app.sign_up("bob").await);
    for user in [&ada, &bob] {
        app.grant(user, Role::Subscriber).await;
    }
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserErased"], "description": "billing"});
    let webhook = Webhook::of(&ada, &body).await;
    Webhook::of(&ada, &body).await.delete().send().await.expect(204);
    Webhook::of(&bob, &body).await;
    let held = ada.get("/users/me/export").send().await.expect(200).json()["webhooks"].clone();
    assert_eq!(held.as_array().unwrap().len(), 1, "{held}");
    assert_eq!((&held[0]["id"], &held[0]["url"]), (&json!(webhook.id), &body["url"]));
    assert_eq!((&held[0]["types"], &held[0]["description"]), (&body["types"], &body["description"]));
}

async fn foreign_webhook_is_not_found_except_for_administrators(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, ada, admin) =
        (WebhookReceiver::start().await, app.sign_up("ada").await, app.admin().await);
    let bob = app.sign_up("bob").await;
    for user in [&ada, &bob] {
        app.grant(user, Role::Subscriber).await;
    }
    let webhook = Webhook::register(&ada, &receiver, 0).await;
    let path = format!("/webhooks/{}", webhook.id);
    for (method, path) in
        [("GET", path.clone()), ("GET", format!("{path}/deliveries")), ("DELETE", path.clone())]
            .into_iter()
            .chain(["test", "rotate-secret", "resume"].map(|what| ("POST", format!("{path}/{what}"))))
    {
        let answer = bob.request(method.parse().unwrap(), &path).send().await.expect(404);
        assert_eq!(answer.json()["detail"], "There is no such webhook", "{method} {path}");
    }
    bob.post(&format!("{path}/replay")).json(&json!({"from": 1, "to": 1})).send().await.expect(404);
    assert_eq!(bob.get("/webhooks").send().await.expect(200).json(), json!({"webhooks": []}));
    for user in [&ada, &admin] {
        let shown = user.get("/webhooks").send().await.expect(200).json();
        assert_eq!(shown["webhooks"][0]["id"], webhook.id.as_str());
        assert_eq!(shown["webhooks"][0]["url"], receiver.url("127.0.0.1"));
        assert!(shown["webhooks"][0].get("secret").is_none(), "a secret is shown once: {shown}");
    }
    for id in ["nonsense", "0193e2b4-0000-7000-8000-000000000009"] {
        admin.get(&format!("/webhooks/{id}")).send().await.expect(404);
    }
}

async fn webhooks_require_the_subscriber_role(store: Store) {
    let app = TestApp::start(store).await;
    let receiver = WebhookReceiver::start().await;
    let body = json!({"url": receiver.url("127.0.0.1")});
    for user in
        [app.sign_up("ada").await, app.user_with(Role::Auditor).await, app.user_with(Role::Operator).await]
    {
        user.post("/webhooks").json(&body).send().await.expect(403);
        user.get("/webhooks").send().await.expect(403);
    }
    app.post("/webhooks").json(&body).send().await.expect(401);
}

async fn deliveries_never_contain_personal_values(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, admin) = (WebhookReceiver::start().await, app.admin().await);
    Webhook::register(&admin, &receiver, 0).await;
    let eve = app.sign_up("eve").await;
    admin.deactivate(&eve.id).send().await.expect(200);
    admin.reactivate(&eve.id).send().await.expect(200);
    app.command(&eve.id, UserCommand::Erase { reason: ErasureReason::Other }).await;
    let last = app.post("/auth/signup").json(&credentials("mallory")).send().await.expect(201).position();
    let all = receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    for delivery in &all {
        for secret in ["eve", "mallory", "@example.com", "requested by a test", "hush", "argon2"] {
            assert!(!delivery.body.contains(secret), "{secret} in {}", delivery.body);
        }
    }
}
