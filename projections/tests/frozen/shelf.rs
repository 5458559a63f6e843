//! A database that holds one event of long ago, and the event store upon it: what is frozen is opened by the code that
//! opens everything else.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::Encoded;
use store::backend::{CommitError, Genesis, Held, VaultEntry, Verdict};
use store::judge::Batch;
use store::memory::Memory;
use store::vault::ClaimHash;
use store::{
    Ambient, Append, Backend, Envelope, EventQuery, EventStore, Expected, FirstResult, Head, MasterKey,
    NewEvent, Recorded, Signal, StoreError, StreamId, StreamWrite,
};
use tokio::sync::watch;

use crate::sample::Sample;

/// What all samples are written under: 32 bytes that are no secret.
const MASTER: &str = "dGhlIG1hc3RlciBrZXkgb2YgZnJvemVuIHNhbXBsZXM=";

/// What has become of the key of the event's stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Erased,
}

/// The event, as the event store reads it.
pub(crate) async fn read(sample: &Sample, fate: Fate) -> Recorded {
    let shelf = Shelf {
        memory: Memory::default(),
        event: sample.envelope.clone(),
        entry: match (fate, &sample.stream_key) {
            (_, None) => None,
            (Fate::Kept, Some(key)) => Some(VaultEntry::Key(key.clone())),
            (Fate::Erased, Some(_)) => Some(VaultEntry::Erased),
        },
    };
    let stream = sample.envelope.stream.clone();
    let store = EventStore::open(Arc::new(shelf), sample.master.clone(), Ambient::system()).await.unwrap();
    let query = EventQuery { limit: 2, stream: Some(stream), ..EventQuery::default() };
    let [event] = store.read(&query).await.unwrap().try_into().unwrap();
    event
}

/// The event as it is stored today.
pub(crate) async fn write(stream: Option<String>, event: Encoded) -> Sample {
    let (ambient, memory) = (Ambient::system(), Memory::default());
    let master = MasterKey::from_base64(MASTER).unwrap();
    let store = EventStore::open(Arc::new(memory.clone()), master.clone(), ambient.clone()).await.unwrap();
    let stream = StreamId::new(stream.unwrap_or_else(|| format!("user-{}", ambient.uuid()))).unwrap();
    let Encoded { event_type, schema, data, personal } = event;
    let event = NewEvent { id: ambient.uuid(), event_type: event_type.to_owned(), schema, data, personal };
    let writes = vec![StreamWrite::new(stream.clone(), Expected::NoStream, vec![event])];
    let request = format!("cli-{}", ambient.uuid());
    store.append(&Append::new("operator:ada", request, writes)).await.unwrap();
    let [envelope] = memory.stream(&stream, 0, 2).await.unwrap().try_into().unwrap();
    let stream_key = match memory.vault(std::slice::from_ref(&stream)).await.unwrap().remove(&stream) {
        Some(VaultEntry::Key(key)) => Some(key),
        Some(VaultEntry::Erased) => panic!("nothing was erased"),
        None => None,
    };
    Sample { master, stream_key, envelope }
}

struct Shelf {
    memory: Memory,
    event: Envelope,
    entry: Option<VaultEntry>,
}

#[async_trait]
impl Backend for Shelf {
    async fn exists(&self) -> Result<bool, StoreError> {
        self.memory.exists().await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        self.memory.migrate(genesis).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<Verdict>, CommitError> {
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

    async fn vault(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, VaultEntry>, StoreError> {
        let stream = &self.event.stream;
        let asked = self.entry.clone().filter(|_| streams.contains(stream));
        Ok(asked.map(|entry| (stream.clone(), entry)).into_iter().collect())
    }

    async fn held(&self, streams: &[StreamId]) -> Result<Vec<Held>, StoreError> {
        self.memory.held(streams).await
    }

    async fn holders(&self, after: Option<&StreamId>, limit: usize) -> Result<Vec<StreamId>, StoreError> {
        self.memory.holders(after, limit).await
    }

    async fn first_result(&self, key: ClaimHash) -> Result<Option<FirstResult>, StoreError> {
        self.memory.first_result(key).await
    }

    fn signals(&self) -> watch::Receiver<Signal> {
        self.memory.signals()
    }
}
