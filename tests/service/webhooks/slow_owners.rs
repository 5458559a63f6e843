//! Owners whose look-up takes long, because the read model `users` lacks an event of theirs, delay nothing but
//! their own webhooks.

use std::time::Duration;

use aegis::command::CommandContext;
use domain::{Role, UserCommand, UserId};
use serde_json::json;
use tokio::time::Instant;

use super::Webhook;
use super::held_up::halt_projection_of;
use crate::support::{Store, TestApp, WebhookReceiver, eventually, on_both_stores};

on_both_stores! {
    slow_owners_do_not_delay_other_webhooks
    node_stops_at_once_while_it_looks_for_owners
    filtered_webhook_keeps_pace_while_users_lag
}

/// The stream of a user whom no read model can show.
const UNKNOWN: &str = "user-0193e2b4-0000-7000-8000-000000000001";
/// The number of webhooks whose owner is slow.
const SLOW: u32 = 8;
/// How long each owner is waited for.
const LOOK_UP: Duration = Duration::from_secs(2);

/// A stopped service with one healthy webhook, and others whose owners cannot be looked up; its receiver.
async fn stopped_with_slow_owners(store: &Store) -> (WebhookReceiver, u64) {
    let app = TestApp::start(store.clone()).await;
    let (receiver, slow) = (WebhookReceiver::start().await, WebhookReceiver::start().await);
    let admin = app.admin().await;
    let mut owners = Vec::new();
    for number in 0..SLOW {
        let owner = app.sign_up(&format!("owner{number}")).await;
        app.grant(&owner, Role::Subscriber).await;
        Webhook::of(&owner, &json!({"url": slow.url("127.0.0.1"), "types": ["UserImported"]})).await;
        owners.push(owner);
    }
    Webhook::register(&admin, &receiver, app.head().await).await;
    halt_projection_of(&app, UNKNOWN).await;
    for owner in &owners {
        grant_unseen(&app, &owner.id).await;
    }
    let head = app.head().await;
    eventually("the healthy webhook", async || {
        receiver.deliveries().iter().any(|delivery| delivery.position() == head).then_some(())
    })
    .await;
    app.stopped().await;
    (receiver, head)
}

/// Grants a role that no read model will show.
async fn grant_unseen(app: &TestApp, user: &str) {
    let (context, id) = (CommandContext::new("system", "test"), UserId::parse(user).unwrap());
    let command = UserCommand::GrantRole { role: Role::Auditor };
    app.services().users.execute(&context, id, &command).await.unwrap();
}

async fn slow_owners_do_not_delay_other_webhooks(store: Store) {
    let (receiver, head) = stopped_with_slow_owners(&store).await;
    let begun = Instant::now();
    let app = TestApp::start(store).await;
    halt_projection_of(&app, UNKNOWN).await;
    eventually("the healthy webhook", async || {
        receiver.deliveries().iter().any(|delivery| delivery.position() > head).then_some(())
    })
    .await;
    assert!(begun.elapsed() < SLOW * LOOK_UP / 2, "delayed by the owners: {:?}", begun.elapsed());
}

async fn node_stops_at_once_while_it_looks_for_owners(store: Store) {
    stopped_with_slow_owners(&store).await;
    let app = TestApp::start(store.clone()).await;
    let leases = app.services().projection_context.leases.clone();
    let is_held = async || {
        let all = leases.list_leases().await.unwrap();
        all.iter().any(|lease| lease.name == "webhooks-00" && !lease.remaining.is_zero())
    };
    eventually("the lease", async || is_held().await.then_some(())).await;
    let stopping = Instant::now();
    app.stopped().await;
    assert!(stopping.elapsed() < SLOW * LOOK_UP / 2, "delayed by the owners: {:?}", stopping.elapsed());
    assert!(!is_held().await, "the lease was not given back");
}

async fn filtered_webhook_keeps_pace_while_users_lag(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, filtered) = (WebhookReceiver::start().await, WebhookReceiver::start().await);
    let admin = app.admin().await;
    let others = [app.sign_up("other0").await, app.sign_up("other1").await, app.sign_up("other2").await];
    let head = app.head().await;
    Webhook::register(&admin, &receiver, head).await;
    let body = json!({"url": filtered.url("127.0.0.1"), "types": ["RoleGranted"], "after": head});
    Webhook::of(&admin, &body).await;
    halt_projection_of(&app, UNKNOWN).await;
    for other in &others {
        grant_unseen(&app, &other.id).await;
        // Events that the filter does not match follow each one that it does.
        halt_projection_of(&app, UNKNOWN).await;
    }
    let granted = filtered.wait_for_accepted(others.len()).await;
    let last = granted.last().unwrap().position();
    assert_eq!(last, app.head().await - 1);
    eventually("the unfiltered webhook", async || {
        receiver.deliveries().iter().any(|delivery| delivery.position() == last + 1).then_some(())
    })
    .await;
}
