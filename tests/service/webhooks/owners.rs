//! Whose webhooks they are, and what becomes of them when their owner may no longer read.

use domain::{Command, ErasureReason, Role};
use serde_json::json;

use super::{Webhook, sign_ups};
use crate::support::{Receiver, Reply, Store, TestApp, credentials, on_both_stores, until};

on_both_stores! {
    an_owner_who_loses_the_role_is_sent_nothing_that_happens_after
    the_webhooks_of_somebody_who_is_erased_are_deleted
    what_is_delivered_no_more_is_deleted_with_its_owner_as_well
    an_owner_is_told_of_their_webhooks_with_all_that_is_held_on_them
    a_webhook_of_somebody_else_is_not_there_but_for_administrators
    who_is_no_subscriber_has_none
    what_is_sent_is_never_personal_whoever_it_is_sent_to
}

async fn an_owner_who_loses_the_role_is_sent_nothing_that_happens_after(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let admin = app.admin().await;
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    let last = sign_ups(&app, "user", 1).await;
    receiver.accepted(usize::try_from(last).unwrap()).await;
    app.command(&subscriber.id, Command::RevokeRole { role: Role::Subscriber }).await;
    sign_ups(&app, "later", 3).await;
    let path = format!("/webhooks/{}", webhook.id);
    let parked = until("a parked webhook", async || {
        Some(admin.get(&path).send().await.expect(200).json()).filter(|shown| shown["state"] == "parked")
    })
    .await;
    assert_eq!(parked["parked"], "owner");
    assert!(receiver.deliveries().iter().all(|delivery| delivery.position() <= last));
    // With the role back it has to be asked for, and goes on where it was.
    app.grant(&subscriber, Role::Subscriber).await;
    admin.post(&format!("{path}/resume")).send().await.expect(200);
    let head = app.node().store.head().await.unwrap().position.get();
    let accepted = receiver.accepted(usize::try_from(head).unwrap()).await;
    assert!(
        accepted
            .iter()
            .map(crate::support::Delivery::position)
            .take(usize::try_from(head).unwrap())
            .eq(1..=head)
    );
}

async fn the_webhooks_of_somebody_who_is_erased_are_deleted(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let admin = app.admin().await;
    let webhook = Webhook::register(&subscriber, &receiver, 0).await;
    receiver.accepted(1).await;
    app.command(&subscriber.id, Command::Erase { reason: ErasureReason::Request }).await;
    sign_ups(&app, "later", 1).await;
    until("a deleted webhook", async || {
        let answer = admin.get(&format!("/webhooks/{}", webhook.id)).send().await;
        (answer.status() == 404).then_some(())
    })
    .await;
    let log = admin.whole_log().await;
    let registered = log.iter().find(|event| event["type"] == "WebhookRegistered").unwrap();
    assert_eq!(registered["data"]["erased"], true, "its address and its secret are destroyed");
    until("nothing that is left", async || {
        let stream = store::StreamId::new(format!("webhook-{}", webhook.id)).unwrap();
        let left = app.node().deliveries.attempts(&stream, None, 10).await.unwrap();
        left.is_empty().then_some(())
    })
    .await;
}

async fn what_is_delivered_no_more_is_deleted_with_its_owner_as_well(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (Receiver::start().await, app.user_with(Role::Subscriber).await);
    let admin = app.admin().await;
    let idle = json!({"url": receiver.url("127.0.0.1"), "types": ["UserImported"]});
    Webhook::of(&subscriber, &idle).await;
    receiver.always(Reply::Status(410));
    let parked = Webhook::register(&subscriber, &receiver, 0).await;
    until("a parked webhook", async || (parked.show().await["state"] == "parked").then_some(())).await;
    app.command(&subscriber.id, Command::Erase { reason: ErasureReason::Request }).await;
    until("no webhooks", async || {
        let left = admin.get("/webhooks").send().await.expect(200).json();
        (left == json!({"webhooks": []})).then_some(())
    })
    .await;
}

async fn an_owner_is_told_of_their_webhooks_with_all_that_is_held_on_them(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, ada, bob) = (Receiver::start().await, app.sign_up("ada").await, app.sign_up("bob").await);
    for user in [&ada, &bob] {
        app.grant(user, Role::Subscriber).await;
    }
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserErased"], "description": "billing"});
    let kept = Webhook::of(&ada, &body).await;
    Webhook::of(&ada, &body).await.delete().send().await.expect(204);
    Webhook::of(&bob, &body).await;
    let held = ada.get("/users/me/export").send().await.expect(200).json()["webhooks"].clone();
    assert_eq!(held.as_array().unwrap().len(), 1, "{held}");
    assert_eq!((&held[0]["id"], &held[0]["url"]), (&json!(kept.id), &body["url"]));
    assert_eq!((&held[0]["types"], &held[0]["description"]), (&body["types"], &body["description"]));
}

async fn a_webhook_of_somebody_else_is_not_there_but_for_administrators(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, ada, admin) = (Receiver::start().await, app.sign_up("ada").await, app.admin().await);
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

async fn who_is_no_subscriber_has_none(store: Store) {
    let app = TestApp::start(store).await;
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url("127.0.0.1")});
    for user in
        [app.sign_up("ada").await, app.user_with(Role::Auditor).await, app.user_with(Role::Operator).await]
    {
        user.post("/webhooks").json(&body).send().await.expect(403);
        user.get("/webhooks").send().await.expect(403);
    }
    app.post("/webhooks").json(&body).send().await.expect(401);
}

async fn what_is_sent_is_never_personal_whoever_it_is_sent_to(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, admin) = (Receiver::start().await, app.admin().await);
    Webhook::register(&admin, &receiver, 0).await;
    let eve = app.sign_up("eve").await;
    admin.deactivate(&eve.id).send().await.expect(200);
    admin.reactivate(&eve.id).send().await.expect(200);
    app.command(&eve.id, Command::Erase { reason: ErasureReason::Other }).await;
    let last = app.post("/auth/signup").json(&credentials("mallory")).send().await.expect(201).position();
    let all = receiver.accepted(usize::try_from(last).unwrap()).await;
    for delivery in &all {
        for secret in ["eve", "mallory", "@example.com", "a test asked for it", "hush", "argon2"] {
            assert!(!delivery.body.contains(secret), "{secret} in {}", delivery.body);
        }
    }
}
