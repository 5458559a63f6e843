//! Ownership of webhooks, and what happens to them when the owner loses authorization or is erased.

use std::time::Duration;

use aegis::command::{CommandContext, CommandError, NewWebhook};
use domain::{ErasureReason, Role, UserCommand, UserEvent, UserId, WebhookId, WebhookUrl};
use futures::future::{join, join_all};
use serde_json::{Value, json};
use store::{
    Append, AppendError, Env, EventQuery, Finding, FindingKind, PersonalData, StreamId, StreamWrite,
    VerifyError,
};
use tokio::time::sleep;

use super::{Webhook, sign_ups};
use crate::support::{Reply, Store, TestApp, WebhookReceiver, credentials, eventually, on_both_stores};

on_both_stores! {
    owner_without_the_role_gets_no_later_events
    webhooks_of_an_erased_owner_are_deleted
    webhook_that_outlived_its_owner_is_named_and_deleted
    erasing_an_owner_erases_their_webhooks_in_the_same_append
    registrations_beside_the_erasure_of_their_owner_leave_nothing
    personal_data_export_includes_webhooks
    foreign_webhook_is_not_found_except_for_administrators
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

/// An owner who was erased by an earlier release, which left the webhooks to the delivering node.
async fn webhook_that_outlived_its_owner_is_named_and_deleted(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::of(&subscriber, &idle(&receiver)).await;
    let (services, id) = (app.services(), UserId::parse(&subscriber.id).unwrap());
    let version = services.users.state(id).await.unwrap().unwrap().version;
    let erased = UserEvent::UserErased { reason: ErasureReason::Request }.encode();
    let write = event_codec::stream_write(&Env::system(), &id.stream(), version, [erased]).unwrap();
    let append = Append::new("operator:test", "r", vec![StreamWrite { erase: true, ..write }]);
    services.store.append(&append).await.unwrap();
    let verify = async || services.store.verify(aegis::query::claim_change, &mut |_, _| {}).await;
    match verify().await {
        Err(VerifyError::Found(Finding { kind: FindingKind::OutlivesOwner { stream, owner }, .. })) => {
            assert_eq!((stream, owner.as_str()), (stream_of(&webhook.id), &*id.stream()));
        }
        other => panic!("{other:?}"),
    }
    eventually("a log that verifies", async || verify().await.ok()).await;
    assert!(services.webhooks.state(WebhookId::parse(&webhook.id).unwrap()).await.unwrap().webhook.is_none());
}

/// Whatever state a webhook is in, nothing of it is left when the erasure is answered.
async fn erasing_an_owner_erases_their_webhooks_in_the_same_append(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let idle = Webhook::of(&subscriber, &idle(&receiver)).await;
    let active = Webhook::register(&subscriber, &receiver, 0).await;
    eventually("deliveries", async || (!active.attempts().await.is_empty()).then_some(())).await;
    receiver.set_default_reply(Reply::Status(410));
    let suspended = Webhook::register(&subscriber, &receiver, 0).await;
    eventually("a suspended webhook", async || {
        (suspended.show().await["state"] == "suspended").then_some(())
    })
    .await;
    let services = app.services();
    let (context, id) =
        (CommandContext::new("operator:test", "erase"), UserId::parse(&subscriber.id).unwrap());
    let erase = UserCommand::Erase { reason: ErasureReason::Request };
    services.users.execute(&context, id, &erase).await.unwrap();
    let mut streams: Vec<_> = [&idle, &active, &suspended].map(|webhook| stream_of(&webhook.id)).into();
    for stream in &streams {
        assert_eq!(services.deliveries.progress(stream).await.unwrap(), None, "{stream}");
        assert_eq!(services.deliveries.attempts(stream, None, 10).await.unwrap(), [], "{stream}");
    }
    let query = EventQuery { limit: 1000, ..EventQuery::default() };
    let log = services.store.read(&query).await.unwrap();
    let erased: Vec<_> = log.iter().filter(|event| event.envelope.request_id == "erase").collect();
    assert!(erased.iter().all(|event| event.envelope.actor == "operator:test"), "{erased:?}");
    let types: Vec<_> = erased.iter().map(|event| event.envelope.event_type.as_str()).collect();
    let deleted = "WebhookDeleted";
    assert_eq!(types, ["UserDeactivated", "UserErased", deleted, deleted, deleted]);
    let mut of: Vec<_> = erased[2..].iter().map(|event| event.envelope.stream.clone()).collect();
    of.sort_unstable();
    streams.sort_unstable();
    assert_eq!(of, streams);
    let registered = log.iter().filter(|event| event.envelope.event_type == "WebhookRegistered");
    assert!(registered.map(|event| &event.personal).all(|personal| *personal == PersonalData::Erased));
}

/// A registration that is committed before the erasure is undone by it; one that comes later is rejected.
async fn registrations_beside_the_erasure_of_their_owner_leave_nothing(store: Store) {
    let app = TestApp::start(store).await;
    let services = app.services();
    for round in 0..5 {
        let owner = UserId::parse(&app.sign_up(&format!("user{round}")).await.id).unwrap();
        let context = CommandContext::new("operator:test", "r");
        let register = async |number: u64| {
            sleep(Duration::from_millis(number)).await;
            let url = WebhookUrl::parse("https://example.com/").unwrap();
            let new = NewWebhook { owner, url, types: Vec::new(), description: None, after: 0, batch: None };
            services.webhooks.register(&context, new).await
        };
        let erase = async {
            sleep(Duration::from_millis(5)).await;
            let erase = UserCommand::Erase { reason: ErasureReason::Request };
            services.users.execute(&context, owner, &erase).await
        };
        let (registered, erased) = join(join_all((0..12).map(register)), erase).await;
        erased.unwrap();
        for registered in registered {
            match registered {
                Ok(webhook) => {
                    let state = services.webhooks.state(webhook.id).await.unwrap();
                    assert!(state.webhook.is_none(), "webhook {} outlives its owner", webhook.id);
                }
                Err(CommandError::Append(AppendError::Erased { stream })) => {
                    assert_eq!(stream.as_str(), owner.stream());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    services.store.verify(aegis::query::claim_change, &mut |_, _| {}).await.unwrap();
}

fn idle(receiver: &WebhookReceiver) -> Value {
    json!({"url": receiver.url("127.0.0.1"), "types": ["UserImported"]})
}

fn stream_of(webhook: &str) -> StreamId {
    StreamId::new(format!("webhook-{webhook}")).unwrap()
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
