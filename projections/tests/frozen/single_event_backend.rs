//! A backend with one frozen event, so that samples are decrypted by the production event store.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::EventPayload;
use store::backend_decorator::BackendDecorator;
use store::key_store::KeyEntry;
use store::memory::Memory;
use store::{
    Append, Backend, Env, Envelope, EventQuery, EventStore, ExpectedVersion, MasterKey, NewEvent, StoreError,
    StoredEvent, StreamId, StreamWrite,
};

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
    let owner = stream.key_owner();
    if owner != stream {
        // The stream that has the key comes first.
        let personal = [("email".to_owned(), "ada@example.com".into())].into_iter().collect();
        let first = NewEvent { id: env.uuid(), personal, ..event.clone() };
        let writes = vec![StreamWrite::new(owner.clone(), ExpectedVersion::NoStream, vec![first])];
        store.append(&Append::new("operator:ada", format!("cli-{}", env.uuid()), writes)).await.unwrap();
    }
    let writes = vec![StreamWrite::new(stream.clone(), ExpectedVersion::NoStream, vec![event])];
    let request = format!("cli-{}", env.uuid());
    store.append(&Append::new("operator:ada", request, writes)).await.unwrap();
    let [envelope] = memory.stream(&stream, 0, 2).await.unwrap().try_into().unwrap();
    let stream_key = match memory.key_entries(std::slice::from_ref(&owner)).await.unwrap().remove(&owner) {
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
impl BackendDecorator for SingleEventBackend {
    fn inner(&self) -> &dyn Backend {
        &self.memory
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        Ok(Some(self.event.clone()).filter(|event| query.matches(event)).into_iter().collect())
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        let owner = self.event.stream.key_owner();
        let asked = self.entry.clone().filter(|_| streams.contains(&owner));
        Ok(asked.map(|entry| (owner, entry)).into_iter().collect())
    }
}
