//! The personal record against the in-memory backend, with a change between two of its reads.

use std::sync::Arc;

use async_trait::async_trait;
use domain::webhook::{decide, evolve};
use domain::{
    EmailAddress, Erasable, ErasureReason, LoginClient, LoginEvent, PasswordHash, UserAgent, UserEvent,
    Username, Webhook, WebhookCommand, WebhookSecret, WebhookSlot, WebhookUrl,
};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use store::backend_decorator::BackendDecorator;
use store::memory::Memory;
use store::{Append, Backend, Env, Head, MasterKey, StreamWrite};
use tokio::sync::Mutex;

use super::*;

/// A backend on which something happens right after the first read of the head.
struct ChangeAfterHead {
    memory: Memory,
    change: Mutex<Option<BoxFuture<'static, ()>>>,
}

#[async_trait]
impl BackendDecorator for ChangeAfterHead {
    fn inner(&self) -> &dyn Backend {
        &self.memory
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let head = self.memory.head().await;
        if let Some(change) = self.change.lock().await.take() {
            change.await;
        }
        head
    }
}

/// A writer beside the reader, on the same log.
#[derive(Clone)]
struct Writer {
    store: EventStore,
    env: Env,
}

impl Writer {
    async fn append(&self, write: StreamWrite) -> u64 {
        self.store.append(&Append::new("system", "r", vec![write])).await.unwrap().position.get()
    }

    async fn sign_up(&self) -> UserId {
        let id = UserId::from_uuid(self.env.uuid());
        let registered = UserEvent::UserRegistered {
            email: Erasable::Known(EmailAddress::parse("ada@example.com").unwrap()),
            username: Erasable::Known(Username::parse("ada").unwrap()),
            password_hash: Some(Erasable::Known(PasswordHash::new("$argon2id$".to_owned()).unwrap())),
        };
        let write = event_codec::stream_write(&self.env, &id.stream(), 0, [registered.encode()]).unwrap();
        self.append(write).await;
        id
    }

    /// Logins after the first `earlier` ones.
    async fn log_in(&self, user: UserId, earlier: usize, count: usize) {
        let login = || LoginEvent::LoginSucceeded {
            failures: 0,
            client: LoginClient {
                address: None,
                user_agent: UserAgent::from_untrusted("curl").map(Erasable::Known),
            },
        };
        let logins = (0..count).map(|_| login().encode());
        let version = u64::try_from(earlier).unwrap();
        let write = event_codec::stream_write(&self.env, &user.logins_stream(), version, logins).unwrap();
        self.append(write).await;
    }

    async fn register(&self, owner: UserId, slot: u64) -> WebhookId {
        let id = WebhookId::from_uuid(self.env.uuid());
        let (url, slot) = (WebhookUrl::parse("https://example.com/").unwrap(), WebhookSlot::new(slot));
        let secret = WebhookSecret::new([1; 32]);
        let register = WebhookCommand::Register {
            owner,
            url,
            secret,
            types: vec![],
            description: None,
            after: 0,
            batch: None,
            slot,
        };
        let events = decide(&Webhook::Absent, register).unwrap();
        assert!(matches!(events.iter().fold(Webhook::Absent, evolve), Webhook::Present(_)));
        let encoded = events.iter().map(domain::WebhookEvent::encode);
        let mut write = event_codec::stream_write(&self.env, &id.stream(), 0, encoded).unwrap();
        write.take = events.iter().filter_map(event_codec::slot_claim_taken).collect();
        self.append(write).await;
        id
    }

    async fn delete(&self, id: WebhookId) -> u64 {
        let deleted = [domain::WebhookEvent::WebhookDeleted.encode()];
        let write = event_codec::stream_write(&self.env, &id.stream(), 1, deleted).unwrap();
        self.append(StreamWrite { erase: true, ..write }).await
    }
}

fn history(store: EventStore, memory: Memory) -> HistoryQueries {
    let memory = Arc::new(memory);
    let sessions = Sessions::new(store.clone(), memory.clone());
    HistoryQueries::new(store.clone(), WebhookQueries::new(store, memory), sessions)
}

/// A user with logins, and what the user did to another one.
async fn with_logins(count: usize) -> (Writer, HistoryQueries, UserId) {
    let (env, memory) = (Env::system(), Memory::default());
    let store =
        EventStore::open(Arc::new(memory.clone()), MasterKey::generate(&env), env.clone()).await.unwrap();
    let writer = Writer { store: store.clone(), env };
    let ada = writer.sign_up().await;
    writer.log_in(ada, 0, count).await;
    for version in 1..=3 {
        let act = [UserEvent::UserUnlocked.encode()];
        let bob = UserId::from_uuid(uuid::Uuid::nil());
        let write = event_codec::stream_write(&writer.env, &bob.stream(), version - 1, act).unwrap();
        writer.store.append(&Append::new(ada.stream(), "r", vec![write])).await.unwrap();
    }
    (writer, history(store, memory), ada)
}

/// Whatever the number of logins, no part has many, and all parts together have all of them.
#[tokio::test]
async fn export_of_many_logins_comes_in_parts() {
    const LOGINS: usize = 1_700;
    let (writer, history, ada) = with_logins(LOGINS).await;
    let export = history.export(ada, writer.env.now()).await.unwrap().unwrap();
    // Not part of it.
    writer.log_in(ada, LOGINS, 5).await;
    let parts: Vec<String> = export.into_json().try_collect().await.unwrap();
    let in_part = |part: &String| part.matches("\"user_agent\"").count();
    assert!(parts.len() >= 4 && parts.iter().all(|part| in_part(part) <= 500), "{} parts", parts.len());
    let record: serde_json::Value = serde_json::from_str(&parts.concat()).unwrap();
    let logins = record["logins"].as_array().unwrap();
    let numbers: Vec<_> = logins.iter().map(|login| login["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=1_700).collect::<Vec<_>>());
    assert!(logins.iter().all(|login| login["user_agent"] == "curl"));
    assert_eq!(record["acts"].as_array().unwrap().len(), 3);
    assert_eq!(record["position"], 1_704);
}

/// What is left after the erasure does not belong to what was sent before it.
#[tokio::test]
async fn export_breaks_off_when_the_user_is_erased() {
    let (writer, history, ada) = with_logins(600).await;
    let export = history.export(ada, writer.env.now()).await.unwrap().unwrap();
    let mut parts = Box::pin(export.into_json());
    for _ in 0..2 {
        parts.try_next().await.unwrap().unwrap();
    }
    let erased = [UserEvent::UserErased { reason: ErasureReason::Request }.encode()];
    let write = event_codec::stream_write(&writer.env, &ada.stream(), 1, erased).unwrap();
    writer.append(StreamWrite { erase: true, ..write }).await;
    let broken_off = parts.try_next().await;
    assert!(matches!(broken_off, Err(QueryError::ErasedMeanwhile)), "{broken_off:?}");
    let export = history.export(ada, writer.env.now()).await.unwrap().unwrap();
    let parts: Vec<String> = export.into_json().try_collect().await.unwrap();
    let record: serde_json::Value = serde_json::from_str(&parts.concat()).unwrap();
    assert_eq!((&record["account"], &record["logins"][0]["user_agent"]), (&().into(), &().into()));
}

/// A webhook that is deleted after the position was taken, and one that is registered then: the record includes
/// both changes, and a position that includes them.
#[tokio::test]
async fn personal_record_is_from_one_position() {
    let (env, memory) = (Env::system(), Memory::default());
    let master = MasterKey::generate(&env);
    let store = EventStore::open(Arc::new(memory.clone()), master.clone(), env.clone()).await.unwrap();
    let writer = Writer { store, env: env.clone() };
    let ada = writer.sign_up().await;
    let (first, second) = (writer.register(ada, 1).await, writer.register(ada, 2).await);
    let other = writer.clone();
    let change = Box::pin(async move {
        other.delete(first).await;
        other.register(ada, 3).await;
    });
    let backend = ChangeAfterHead { memory: memory.clone(), change: Mutex::new(Some(change)) };
    let store = EventStore::open(Arc::new(backend), master, env.clone()).await.unwrap();
    let record = history(store, memory).export(ada, env.now()).await.unwrap().unwrap().record;
    let shown: Vec<_> = record.webhooks.iter().map(|webhook| webhook.id.clone()).collect();
    let (position, webhooks) = (record.position, shown.len());
    assert_eq!((position, webhooks), (5, 2), "{shown:?}");
    assert!(shown.contains(&second.to_string()) && !shown.contains(&first.to_string()), "{shown:?}");
}
