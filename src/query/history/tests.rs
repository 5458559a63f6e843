//! The personal record against the in-memory backend, with a change between two of its reads.

use std::sync::Arc;

use async_trait::async_trait;
use domain::webhook::{decide, evolve};
use domain::{
    EmailAddress, Erasable, PasswordHash, UserEvent, Username, Webhook, WebhookCommand, WebhookSecret,
    WebhookSlot, WebhookUrl,
};
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

    async fn register(&self, owner: UserId, slot: u64) -> WebhookId {
        let id = WebhookId::from_uuid(self.env.uuid());
        let (url, slot) = (WebhookUrl::parse("https://example.com/").unwrap(), WebhookSlot::new(slot));
        let secret = WebhookSecret::new([1; 32]);
        let register =
            WebhookCommand::Register { owner, url, secret, types: vec![], description: None, after: 0, slot };
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
    let history = HistoryQueries::new(store.clone(), WebhookQueries::new(store, Arc::new(memory)));
    let record = history.record(ada, env.now()).await.unwrap().unwrap();
    let shown: Vec<_> = record.webhooks.iter().map(|webhook| webhook.id.clone()).collect();
    let (position, webhooks) = (record.position, shown.len());
    assert_eq!((position, webhooks), (5, 2), "{shown:?}");
    assert!(shown.contains(&second.to_string()) && !shown.contains(&first.to_string()), "{shown:?}");
}
