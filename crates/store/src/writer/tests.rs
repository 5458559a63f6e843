//! The writer task, with a backend whose commits are let through one by one.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::*;
use crate::append::{Append, Expected, StreamWrite};
use crate::backend::{EventQuery, Genesis, Head, Held, VaultEntry};
use crate::event::{Envelope, NewEvent, Position, StreamId};
use crate::idempotency::FirstResult;
use crate::memory::Memory;
use crate::metrics::Outcome;
use crate::prepare::Sealer;
use crate::signal::Signal;
use crate::vault::{ClaimHash, ClaimKey, MasterKey};

mod crowd;

/// A memory backend whose commits wait to be let through, one permit each.
struct Gated {
    memory: Memory,
    gate: Semaphore,
}

#[async_trait]
impl Backend for Gated {
    async fn exists(&self) -> Result<bool, StoreError> {
        self.memory.exists().await
    }
    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        self.memory.migrate(genesis).await
    }
    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<Verdict>, CommitError> {
        self.gate.acquire().await.unwrap().forget();
        self.memory.commit(batch).await
    }
    async fn head(&self) -> Result<Head, StoreError> {
        self.memory.head().await
    }
    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        self.memory.events(query).await
    }
    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        self.memory.stream(stream, after, limit).await
    }
    async fn vault(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, VaultEntry>, StoreError> {
        self.memory.vault(streams).await
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

fn gated() -> (Arc<Gated>, Writer, JoinHandle<()>) {
    let backend = Arc::new(Gated { memory: Memory::default(), gate: Semaphore::new(0) });
    let signer = Arc::new(Signer::new(Uuid::nil(), &[7; 32]).unwrap());
    let (writer, task) = Writer::start(backend.clone(), signer, Ambient::system());
    (backend, writer, task)
}

/// Hands an append over in a task of its own, as a request does.
fn queued(writer: &Writer, append: PreparedAppend) -> JoinHandle<Verdict> {
    let writer = writer.clone();
    tokio::spawn(async move { writer.append(append).await })
}

fn an_append(events: usize) -> PreparedAppend {
    let ambient = Ambient::system();
    let event = || NewEvent {
        id: ambient.uuid(),
        event_type: "Happened".to_owned(),
        schema: 1,
        data: serde_json::Map::new(),
        personal: serde_json::Map::new(),
    };
    let stream = StreamId::new(format!("user-{}", ambient.uuid())).unwrap();
    let write = StreamWrite::new(stream, Expected::NoStream, (0..events).map(|_| event()).collect());
    let append = Append::new("system", "test", vec![write]);
    let master = MasterKey::generate(&ambient);
    let sealer = Sealer::new(master.clone().into(), master.id(), ClaimKey::new(&[1; 32]), ambient);
    sealer.prepare(&append, &HashMap::new(), &master.into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_batch_grows_while_one_is_in_flight_up_to_its_cap() {
    let (backend, writer, _task) = gated();
    let first = queued(&writer, an_append(1));
    tokio::task::yield_now().await;
    let rest: Vec<_> = (0..6).map(|_| queued(&writer, an_append(100))).collect();
    tokio::task::yield_now().await;
    let mut heads = Vec::new();
    for _ in 0..3 {
        backend.gate.add_permits(1);
        let before = backend.head().await.unwrap().position;
        backend.signals().wait_for(|signal| signal.head > before).await.unwrap();
        heads.push(backend.head().await.unwrap().position.get());
    }
    assert_eq!(heads, [1, 501, 601], "one alone, then what fits into 512 events, then the rest");
    assert_eq!(first.await.unwrap().unwrap().position, Position::new(1));
    for append in rest {
        append.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_that_waits_too_long_is_withdrawn_and_one_in_flight_is_unknown() {
    let (backend, writer, _task) = gated();
    let (in_flight, queued) = tokio::join!(writer.append(an_append(1)), async {
        tokio::task::yield_now().await;
        writer.append(an_append(1)).await
    });
    assert!(matches!(in_flight, Err(AppendError::Unknown(_))), "{in_flight:?}");
    assert!(matches!(queued, Err(AppendError::Store(StoreError::Unavailable { .. }))), "{queued:?}");
    backend.gate.add_permits(10);
    writer.append(an_append(1)).await.unwrap();
    assert_eq!(backend.head().await.unwrap().position, Position::new(2), "the withdrawn one never happened");
}

#[tokio::test(start_paused = true)]
async fn closing_finishes_what_waits_and_refuses_the_rest() {
    let (backend, writer, task) = gated();
    let waiting: Vec<_> = (0..3).map(|_| queued(&writer, an_append(1))).collect();
    tokio::task::yield_now().await;
    writer.close();
    backend.gate.add_permits(10);
    task.await.unwrap();
    for append in waiting {
        append.await.unwrap().unwrap();
    }
    assert!(matches!(writer.append(an_append(1)).await, Err(AppendError::Busy)));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_loses_the_answer_and_not_the_event() {
    let (backend, writer, _task) = gated();
    let caller = queued(&writer, an_append(1));
    tokio::task::yield_now().await;
    caller.abort();
    backend.gate.add_permits(1);
    backend.signals().wait_for(|signal| signal.head == Position::new(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_the_task_dies_what_it_had_taken_is_unknown_and_the_rest_was_not_done() {
    let (_backend, writer, task) = gated();
    let (in_flight, queued, ()) = tokio::join!(
        writer.append(an_append(1)),
        async {
            tokio::task::yield_now().await;
            writer.append(an_append(1)).await
        },
        async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            task.abort();
        }
    );
    assert!(matches!(in_flight, Err(AppendError::Unknown(_))), "{in_flight:?}");
    assert!(matches!(queued, Err(AppendError::Busy)), "{queued:?}");
}
