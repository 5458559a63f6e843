//! A backend with one frozen event, so that samples are decrypted by the production event store.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::EventPayload;
use store::append::AppendResult;
use store::backend::{CommitError, Genesis};
use store::commit_planner::Batch;
use store::key_store::{ClaimHash, KeyEntry, StreamKeyEntry};
use store::memory::Memory;
use store::{
    Append, Backend, Env, Envelope, EventQuery, EventStore, ExpectedVersion, Head, MasterKey, NewEvent,
    RecordedResult, StoreError, StoreProgress, StoredEvent, StreamId, StreamWrite,
};
use tokio::sync::watch;

use crate::sample::Sample;

/// The master key of all samples; not a secret.
const MASTER: &str = "dGhlIG1hc3RlciBrZXkgb2YgZnJvemVuIHNhbXBsZXM=";

/// The state of the stream's data key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    Present,
    Erased,
}

/// The event, as the event store reads it.
pub(crate) async fn read(sample: &Sample, key_state: KeyState) -> StoredEvent {
    let backend = SingleEventBackend {
        memory: Memory::default(),
        event: sample.envelope.clone(),
        entry: match (key_state, &sample.stream_key) {
            (_, None) => None,
            (KeyState::Present, Some(key)) => Some(KeyEntry::Key(key.clone())),
            (KeyState::Erased, Some(_)) => Some(KeyEntry::Erased),
        },
    };
    let stream = sample.envelope.stream.clone();
    let store = EventStore::open(Arc::new(backend), sample.master.clone(), Env::system()).await.unwrap();
    let query = EventQuery { limit: 2, stream: Some(stream), ..EventQuery::default() };
    let [event] = store.read(&query).await.unwrap().try_into().unwrap();
    event
}

/// The event as it is stored today.
pub(crate) async fn write(stream: Option<String>, event: EventPayload) -> Sample {
    let (env, memory) = (Env::system(), Memory::default());
    let master = MasterKey::from_base64(MASTER).unwrap();
    let store = EventStore::open(Arc::new(memory.clone()), master.clone(), env.clone()).await.unwrap();
    let stream = StreamId::new(stream.unwrap_or_else(|| format!("user-{}", env.uuid()))).unwrap();
    let EventPayload { event_type, schema, data, personal } = event;
    let event = NewEvent { id: env.uuid(), event_type: event_type.to_owned(), schema, data, personal };
    let writes = vec![StreamWrite::new(stream.clone(), ExpectedVersion::NoStream, vec![event])];
    let request = format!("cli-{}", env.uuid());
    store.append(&Append::new("operator:ada", request, writes)).await.unwrap();
    let [envelope] = memory.stream(&stream, 0, 2).await.unwrap().try_into().unwrap();
    let stream_key = match memory.key_entries(std::slice::from_ref(&stream)).await.unwrap().remove(&stream) {
        Some(KeyEntry::Key(key)) => Some(key),
        Some(KeyEntry::Erased) => panic!("nothing was erased"),
        None => None,
    };
    Sample { master, stream_key, envelope }
}

struct SingleEventBackend {
    memory: Memory,
    event: Envelope,
    entry: Option<KeyEntry>,
}

#[async_trait]
impl Backend for SingleEventBackend {
    async fn exists(&self) -> Result<bool, StoreError> {
        self.memory.exists().await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        self.memory.migrate(genesis).await
    }

    async fn epoch(&self) -> Result<u64, StoreError> {
        self.memory.epoch().await
    }

    async fn set_epoch(&self, epoch: u64) -> Result<(), StoreError> {
        self.memory.set_epoch(epoch).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        self.memory.commit(batch).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.memory.head().await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        Ok(Some(self.event.clone()).filter(|event| query.matches(event)).into_iter().collect())
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        self.memory.stream(stream, after, limit).await
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        let stream = &self.event.stream;
        let asked = self.entry.clone().filter(|_| streams.contains(stream));
        Ok(asked.map(|entry| (stream.clone(), entry)).into_iter().collect())
    }

    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError> {
        self.memory.key_entries_with_claims(streams).await
    }

    async fn claim_owners(&self, claims: &[ClaimHash]) -> Result<HashMap<ClaimHash, StreamId>, StoreError> {
        self.memory.claim_owners(claims).await
    }

    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        self.memory.key_entry_streams(after, limit).await
    }

    async fn recorded_result(&self, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError> {
        self.memory.recorded_result(key).await
    }

    fn watch_progress(&self) -> watch::Receiver<StoreProgress> {
        self.memory.watch_progress()
    }
}
