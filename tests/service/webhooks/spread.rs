//! Many webhooks: they are spread over the nodes, and those that want no new event cost nothing.

use std::collections::HashMap;
use std::time::Duration;

use domain::Role;
use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use serde_json::json;
use tokio::time::sleep;

use super::{Webhook, sign_ups};
use crate::support::{Store, TestApp, User, WebhookReceiver, eventually, on_both_stores, on_one_store};

on_both_stores! {
    nodes_share_the_webhooks_and_take_over
}

on_one_store! { mongo_only:
    webhooks_that_want_no_new_event_cause_no_reads
}

/// How many webhooks a node delivers.
async fn delivered_by(node: &TestApp) -> usize {
    let metrics = node.get("/metrics").send().await.expect(200).text();
    let values = metrics.lines().filter_map(|line| line.strip_prefix("aegis_webhooks{")?.split_once("} "));
    values.map(|(_, count)| count.parse::<usize>().unwrap()).sum()
}

/// Registers webhooks of one type, each with a query of its own in its URL.
async fn register(owner: &User, receiver: &WebhookReceiver, count: usize, event_type: &str) {
    for number in 0..count {
        let url = format!("{}&webhook={number}", receiver.url("127.0.0.1"));
        Webhook::of(owner, &json!({"url": url, "types": [event_type]})).await;
    }
}

async fn nodes_share_the_webhooks_and_take_over(store: Store) {
    const WEBHOOKS: usize = 24;
    let first = TestApp::start(store).await;
    let (receiver, ada) = (WebhookReceiver::start().await, first.user_with(Role::Subscriber).await);
    register(&ada, &receiver, WEBHOOKS, "UserRegistered").await;
    eventually("delivery by one node", async || (delivered_by(&first).await == WEBHOOKS).then_some(())).await;
    let second = first.start_second_node().await;
    eventually("delivery by both nodes", async || {
        let (by_first, by_second) = (delivered_by(&first).await, delivered_by(&second).await);
        (by_first > 0 && by_second > 0 && by_first + by_second == WEBHOOKS).then_some(())
    })
    .await;
    let mut positions = vec![sign_ups(&first, "one", 1).await, sign_ups(&first, "two", 1).await];
    receiver.wait_for_accepted(2 * WEBHOOKS).await;
    first.stopped().await;
    eventually("delivery by the other node", async || {
        (delivered_by(&second).await == WEBHOOKS).then_some(())
    })
    .await;
    positions.push(sign_ups(&second, "three", 1).await);
    let deliveries = receiver.wait_for_accepted(3 * WEBHOOKS).await;
    let mut by_signature: HashMap<u64, usize> = HashMap::new();
    for delivery in &deliveries {
        *by_signature.entry(delivery.position()).or_default() += 1;
    }
    // A node that was stopped leaves nothing to be repeated.
    let expected: HashMap<_, _> = positions.into_iter().map(|position| (position, WEBHOOKS)).collect();
    assert_eq!(by_signature, expected);
}

async fn webhooks_that_want_no_new_event_cause_no_reads() {
    const WEBHOOKS: usize = 20;
    let store = Store::mongo().await;
    let app = TestApp::start(store.clone()).await;
    let (receiver, ada) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let database = store.mongo_database().await.unwrap();
    register(&ada, &receiver, WEBHOOKS, "UserErased").await;
    let wanted =
        Webhook::of(&ada, &json!({"url": receiver.url("127.0.0.1"), "types": ["UserRegistered"]})).await;
    eventually("delivery", async || (delivered_by(&app).await == WEBHOOKS + 1).then_some(())).await;
    sign_ups(&app, "before", 1).await;
    receiver.wait_for_accepted(1).await;
    // Until all of them wait for events.
    sleep(Duration::from_secs(1)).await;
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    for number in 0..10 {
        sign_ups(&app, &format!("user{number}-"), 1).await;
        receiver.wait_for_accepted(2 + number).await;
    }
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    let events = format!("{}.events", database.name());
    let finds = doc! { "ns": events, "command.find": "events" };
    let found = database.collection::<Document>("system.profile").find(finds).await.unwrap();
    let reads: Vec<Document> = found.try_collect().await.unwrap();
    let of_workers = |read: &&Document| {
        let filter = read.get_document("command").unwrap().get_document("filter").unwrap();
        filter.to_string().contains("UserErased")
    };
    let reads: Vec<_> = reads.iter().filter(of_workers).collect();
    assert_eq!(reads.len(), 0, "one reader reads for all workers: {reads:?}");
    assert_eq!(wanted.show().await["state"], "active");
}
