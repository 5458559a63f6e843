//! Sessions on a database whose primary is replaced during a read.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde_json::Map;

use super::*;
use crate::append::{Append, ExpectedVersion, StreamWrite};
use crate::backend::Backend;
use crate::backend_decorator::BackendDecorator;
use crate::env::Env;
use crate::event::NewEvent;
use crate::key_store::MasterKey;
use crate::memory::Memory;

/// Of each kind of read, the first one is answered by a primary that was deposed before and knows no session; then
/// the new one answers.
#[derive(Default)]
struct Deposed {
    memory: Memory,
    changes: AtomicU64,
    key_reads: AtomicU64,
    answered: Mutex<Vec<&'static str>>,
}

impl Deposed {
    fn is_old(&self, read: &'static str) -> bool {
        let mut answered = self.answered.lock().unwrap();
        let is_first = !answered.contains(&read);
        if is_first {
            answered.push(read);
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
        is_first
    }
}

#[async_trait]
impl BackendDecorator for Deposed {
    fn inner(&self) -> &dyn Backend {
        &self.memory
    }

    fn primary_changes(&self) -> Option<u64> {
        Some(self.changes.load(Ordering::SeqCst))
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        self.key_reads.fetch_add(1, Ordering::SeqCst);
        Backend::key_entries(&self.memory, streams).await
    }
}

#[async_trait]
impl SessionStore for Deposed {
    async fn open_session(&self, record: &SessionRecord) -> Result<(), WriteError> {
        self.memory.open_session(record).await
    }

    async fn session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        if self.is_old("session") { Ok(None) } else { self.memory.session(id).await }
    }

    async fn sessions_of(&self, stream: &StreamId) -> Result<Vec<SessionRecord>, StoreError> {
        if self.is_old("sessions_of") { Ok(Vec::new()) } else { self.memory.sessions_of(stream).await }
    }

    async fn renew_session(&self, renewal: &SessionRenewal) -> Result<(), WriteError> {
        self.memory.renew_session(renewal).await
    }

    async fn purge_sessions(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.memory.purge_sessions(before, limit).await
    }
}

/// Sessions of a user with `count` of them, before any was read.
async fn opened(count: usize) -> (Arc<Deposed>, Sessions, StreamId, Vec<Uuid>) {
    let (database, env) = (Arc::new(Deposed::default()), Env::system());
    let store = EventStore::open(database.clone(), MasterKey::generate(&env), env.clone()).await.unwrap();
    let stream = StreamId::new("user-1").unwrap();
    let event = NewEvent {
        id: env.uuid(),
        event_type: "Registered".to_owned(),
        schema: 1,
        data: Map::new(),
        personal: Map::from_iter([("name".to_owned(), "Ada".into())]),
    };
    let write = StreamWrite::new(stream.clone(), ExpectedVersion::NoStream, vec![event]);
    let append = Append {
        actor: "system".to_owned(),
        request_id: "test".to_owned(),
        writes: vec![write],
        guards: Vec::new(),
        idempotency: None,
    };
    store.append(&append).await.unwrap();
    let sessions = Sessions::new(store, database.clone());
    let (mut ids, later) = (Vec::new(), Timestamp::from_second(4_000_000_000).unwrap());
    for _ in 0..count {
        let new = NewSession {
            stream: stream.clone(),
            version: 1,
            ends_at: later,
            expires_at: later,
            address: Some("192.0.2.1".to_owned()),
            user_agent: None,
        };
        ids.push(sessions.open(new).await.unwrap().id);
    }
    (database, sessions, stream, ids)
}

#[tokio::test]
async fn deposed_primary_hides_no_session() {
    let (_, sessions, stream, ids) = opened(1).await;
    assert_eq!(sessions.of(&stream).await.unwrap().len(), 1, "listed");
    assert!(sessions.keep(&stream, ids[0], 2).await.unwrap().is_some(), "kept by a change of the password");
    let (_, sessions, _, ids) = opened(1).await;
    assert!(sessions.find(ids[0]).await.unwrap().is_some(), "found");
}

#[tokio::test]
async fn list_reads_the_data_key_once() {
    let (database, sessions, stream, _) = opened(5).await;
    let before = database.key_reads.load(Ordering::SeqCst);
    let listed = sessions.of(&stream).await.unwrap();
    assert!(listed.iter().all(|session| session.address.as_deref() == Some("192.0.2.1")));
    assert_eq!((listed.len(), database.key_reads.load(Ordering::SeqCst) - before), (5, 1));
}
