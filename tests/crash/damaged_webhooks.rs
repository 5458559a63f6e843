//! A service that is killed, and finds at its next start damage that was done meanwhile: the delivery cursor
//! of a webhook is lost, or its entry in the key store cannot be decrypted. Only that webhook is affected, and
//! only once.

use std::collections::BTreeMap;
use std::time::Duration;

use aegis::config::DATABASE_FILE;
use mongodb::bson::{Binary, Document, doc, spec::BinarySubtype};
use serde_json::json;
use tempfile::TempDir;
use testkit::TestDatabase;
use testkit::service::{WebhookReceiver, eventually};

use crate::client_write;
use crate::clients::ClientContext;
use crate::cluster::Cluster;

const TIMEOUT: Duration = Duration::from_secs(12);
/// The events before the damage.
const EVENTS: usize = 20;

enum Damaged {
    Mongo(TestDatabase),
    Embedded(TempDir),
}

impl Damaged {
    async fn on_mongodb() -> (Self, Cluster) {
        let database = testkit::shared_mongodb().await.database();
        let cluster = Cluster::on_mongodb(1, database.url(), database.name());
        (Self::Mongo(database), cluster)
    }

    fn embedded() -> (Self, Cluster) {
        let data = TempDir::new().unwrap();
        let cluster = Cluster::embedded(data.path());
        (Self::Embedded(data), cluster)
    }

    /// Deletes the delivery cursors; the attempts stay.
    async fn lose_cursors(&self) {
        match self {
            Self::Mongo(database) => {
                let client = mongodb::Client::with_uri_str(database.url()).await.unwrap();
                let cursors = client.database(database.name()).collection::<Document>("delivery_progress");
                assert_eq!(
                    cursors.delete_many(doc! { "_id": { "$ne": "mailer" } }).await.unwrap().deleted_count,
                    1
                );
            }
            Self::Embedded(data) => {
                let delete = "DELETE FROM delivery_progress WHERE stream <> 'mailer'";
                assert_eq!(open(data).execute(delete, ()).unwrap(), 1);
            }
        }
    }

    /// Overwrites the data key of a webhook.
    async fn damage_key(&self, webhook: &str) {
        let stream = format!("webhook-{webhook}");
        match self {
            Self::Mongo(database) => {
                let client = mongodb::Client::with_uri_str(database.url()).await.unwrap();
                let vault = client.database(database.name()).collection::<Document>("vault");
                let key = vault.find_one(doc! { "_id": &stream }).await.unwrap().unwrap();
                let mut bytes = key.get_binary_generic("key").unwrap().clone();
                *bytes.last_mut().unwrap() ^= 1;
                let key = Binary { subtype: BinarySubtype::Generic, bytes };
                vault.update_one(doc! { "_id": &stream }, doc! { "$set": { "key": key } }).await.unwrap();
            }
            Self::Embedded(data) => {
                let (database, read) = (open(data), "SELECT key FROM vault WHERE stream = ?1");
                let mut key: Vec<u8> = database.query_row(read, [&stream], |row| row.get(0)).unwrap();
                *key.last_mut().unwrap() ^= 1;
                database.execute("UPDATE vault SET key = ?2 WHERE stream = ?1", (&stream, key)).unwrap();
            }
        }
    }
}

fn open(data: &TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(data.path().join(DATABASE_FILE)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_lost_cursor_means_every_event_once_more() {
    let (database, cluster) = Damaged::on_mongodb().await;
    lost_cursor(&database, cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_lost_cursor_means_every_event_once_more() {
    let (database, cluster) = Damaged::embedded();
    lost_cursor(&database, cluster).await;
}

async fn lost_cursor(database: &Damaged, mut cluster: Cluster) {
    let context = cluster.start_all(TIMEOUT).await;
    let receiver = WebhookReceiver::start().await;
    register(&context, &receiver).await;
    for number in 0..EVENTS {
        sign_up(&context, &format!("before{number}")).await;
    }
    let last = await_event(&receiver, sign_up(&context, "last").await).await;
    // Stopped, not killed: what was delivered is in the cursor that is lost.
    cluster.stop(0).await;
    database.lose_cursors().await;
    cluster.start(0).await;
    await_event(&receiver, sign_up(&context, "after").await).await;
    await_event(&receiver, sign_up(&context, "later").await).await;
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for delivery in receiver.deliveries() {
        *counts.entry(delivery.position()).or_default() += 1;
    }
    for (position, times) in counts {
        let expected = if position <= last { 2 } else { 1 };
        assert_eq!(
            times, expected,
            "deliveries of position {position}, where {last} was the last one before"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_damaged_key_store_entry_silences_one_webhook() {
    let (database, cluster) = Damaged::on_mongodb().await;
    damaged_key(&database, cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_damaged_key_store_entry_silences_one_webhook() {
    let (database, cluster) = Damaged::embedded();
    damaged_key(&database, cluster).await;
}

async fn damaged_key(database: &Damaged, mut cluster: Cluster) {
    let context = cluster.start_all(TIMEOUT).await;
    let (receiver, other) = (WebhookReceiver::start().await, WebhookReceiver::start().await);
    let damaged = register(&context, &other).await;
    register(&context, &receiver).await;
    await_event(&receiver, sign_up(&context, "before").await).await;
    cluster.kill(0);
    database.damage_key(&damaged).await;
    cluster.start(0).await;
    await_event(&receiver, sign_up(&context, "after").await).await;
    eventually("a log line that names the damaged webhook", async || {
        let output = cluster.service(0).output();
        output.lines().any(|line| line.contains("WARN") && line.contains(&damaged)).then_some(())
    })
    .await;
}

/// Registers a webhook of the administrator for all events; returns its id.
async fn register(context: &ClientContext, receiver: &WebhookReceiver) -> String {
    let body = json!({ "url": receiver.url("127.0.0.1"), "after": 0 });
    let registered = context.services[0].post("/webhooks").bearer(&context.token).json(&body).send().await;
    registered.expect(201).json()["id"].as_str().unwrap().to_owned()
}

/// Signs a user up; returns the position.
async fn sign_up(context: &ClientContext, name: &str) -> u64 {
    client_write::sign_up(&context.services[0], name).timeout(TIMEOUT).send().await.expect(201).position()
}

/// Waits until the event was delivered.
async fn await_event(receiver: &WebhookReceiver, position: u64) -> u64 {
    eventually("the event to be delivered", async || {
        receiver.deliveries().iter().any(|delivery| delivery.position() == position).then_some(position)
    })
    .await
}
