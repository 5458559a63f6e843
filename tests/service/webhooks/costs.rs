//! What webhooks cost the database, as counts.

use std::collections::HashMap;
use std::time::Duration;

use domain::{ErasureReason, Role, UserCommand};
use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use store::StreamId;
use tokio::time::{Instant, sleep};

use super::Webhook;
use super::held_up::halt_projection_of;
use crate::support::{
    Store, TestApp, WebhookReceiver, eventually, on_both_stores, on_one_store, sign_up_request,
};

on_both_stores! {
    progress_is_written_at_most_five_times_a_second
}

on_one_store! { mongo_only:
    deleted_webhooks_are_not_read_again_while_their_read_model_is_halted
}

async fn progress_is_written_at_most_five_times_a_second(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, subscriber) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&subscriber, &receiver, app.head().await).await;
    receiver.wait_for_accepted(1).await;
    let stream = StreamId::new(format!("webhook-{}", webhook.id)).unwrap();
    let revision = async || {
        let progress = app.services().deliveries.progress(&stream).await.unwrap();
        progress.map_or(0, |progress| progress.revision)
    };
    let (before, begun) = (revision().await, Instant::now());
    for number in 0..50 {
        sign_up_request(&app, &format!("user{number}")).send().await.expect(201);
    }
    receiver.wait_for_accepted(51).await;
    eventually("all attempts", async || (webhook.attempts().await.len() >= 51).then_some(())).await;
    let (writes, elapsed) = (revision().await - before, begun.elapsed());
    // Each write is a transaction of its own while there is one webhook.
    let most = u64::try_from(elapsed.as_millis()).unwrap() / 200 + 2;
    assert!(writes <= most, "{writes} writes for 50 deliveries in {elapsed:?}");
}

/// How often each stream was read, according to the profile of the database.
async fn reads(database: &mongodb::Database) -> HashMap<String, usize> {
    let events = format!("{}.events", database.name());
    // The stream `system` is read by the projector that is halted.
    let streams = doc! { "$regex": "^(user|webhook)-" };
    let finds = doc! { "ns": events, "command.find": "events", "command.filter.stream": streams };
    let found = database.collection::<Document>("system.profile").find(finds).await.unwrap();
    let found: Vec<Document> = found.try_collect().await.unwrap();
    let mut reads = HashMap::new();
    for read in found {
        let filter = read.get_document("command").unwrap().get_document("filter").unwrap();
        *reads.entry(filter.get_str("stream").unwrap().to_owned()).or_default() += 1;
    }
    reads
}

async fn deleted_webhooks_are_not_read_again_while_their_read_model_is_halted() {
    const WEBHOOKS: u64 = 5;
    let store = Store::mongo().await;
    let app = TestApp::start(store.clone()).await;
    let (receiver, ada) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let database = store.mongo_database().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..WEBHOOKS {
        let webhook = Webhook::register(&ada, &receiver, 0).await;
        streams.push(StreamId::new(format!("webhook-{}", webhook.id)).unwrap());
    }
    halt_projection_of(&app, "webhook-0193e2b4-0000-7000-8000-000000000001").await;
    app.command(&ada.id, UserCommand::Erase { reason: ErasureReason::Request }).await;
    eventually("the cursors to be deleted", async || {
        for stream in &streams {
            // Events make the workers read their webhooks again.
            app.services().deliveries.progress(stream).await.unwrap().is_none().then_some(())?;
        }
        Some(())
    })
    .await;
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let reads = reads(&database).await;
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    // Each may be read when it and its owner are deleted, and the owner for each, but not every second.
    let limit = |stream: &str| if stream.starts_with("user-") { 3 * WEBHOOKS } else { 3 };
    let are_rare = reads.iter().all(|(stream, times)| u64::try_from(*times).unwrap() <= limit(stream));
    assert!(are_rare, "{reads:?} within 5 s");
}
