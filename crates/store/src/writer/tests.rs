//! The writer task, with a backend whose commits and answers wait for permits.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;
use crate::append::{Append, ExpectedVersion, StreamWrite};
use crate::backend_decorator::BackendDecorator;
use crate::encryptor::Encryptor;
use crate::event::{NewEvent, Position, StreamId};
use crate::key_store::{ClaimKey, MasterKey};
use crate::memory::Memory;
use crate::metrics::AppendOutcome;

mod full_queue;

/// An in-memory backend whose commits each wait for a permit before they begin, and for another one before
/// they are answered.
struct Gated {
    memory: Memory,
    gate: Semaphore,
    answers: Semaphore,
}

#[async_trait]
impl BackendDecorator for Gated {
    fn inner(&self) -> &dyn Backend {
        &self.memory
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        self.gate.acquire().await.unwrap().forget();
        let committed = self.memory.commit(batch).await;
        self.answers.acquire().await.unwrap().forget();
        committed
    }
}

fn gated() -> (Arc<Gated>, Writer, JoinHandle<()>) {
    let answers = Semaphore::new(Semaphore::MAX_PERMITS);
    let backend = Arc::new(Gated { memory: Memory::default(), gate: Semaphore::new(0), answers });
    let signer = Arc::new(Signer::new(Uuid::nil(), &[7; 32]).unwrap());
    let (writer, task) = Writer::start(backend.clone(), signer, Env::system());
    (backend, writer, task)
}

/// Queues an append in a separate task, like a request.
fn queued(writer: &Writer, append: PreparedAppend) -> JoinHandle<AppendResult> {
    let writer = writer.clone();
    tokio::spawn(async move { writer.append(append).await })
}

fn an_append(events: usize) -> PreparedAppend {
    let env = Env::system();
    let event = || NewEvent {
        id: env.uuid(),
        event_type: "Happened".to_owned(),
        schema: 1,
        data: serde_json::Map::new(),
        personal: serde_json::Map::new(),
    };
    let stream = StreamId::new(format!("user-{}", env.uuid())).unwrap();
    let write = StreamWrite::new(stream, ExpectedVersion::NoStream, (0..events).map(|_| event()).collect());
    let append = Append::new("system", "test", vec![write]);
    let master = MasterKey::generate(&env);
    let encryptor = Encryptor::new(master.clone().into(), master.id(), ClaimKey::new(&[1; 32]), env);
    encryptor.encrypt(&append, &HashMap::new(), &master.into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn batch_grows_while_a_commit_is_in_flight_up_to_its_limit() {
    let (backend, writer, _task) = gated();
    let first = queued(&writer, an_append(1));
    tokio::task::yield_now().await;
    let rest: Vec<_> = (0..6).map(|_| queued(&writer, an_append(100))).collect();
    tokio::task::yield_now().await;
    let mut heads = Vec::new();
    for _ in 0..3 {
        backend.gate.add_permits(1);
        let before = backend.memory.head().await.unwrap().position;
        backend.watch_progress().wait_for(|progress| progress.head > before).await.unwrap();
        heads.push(backend.memory.head().await.unwrap().position.get());
    }
    assert_eq!(heads, [1, 501, 601], "one alone, then as many as fit into 512 events, then the rest");
    assert_eq!(first.await.unwrap().unwrap().position, Position::new(1));
    for append in rest {
        append.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn append_that_was_not_begun_times_out_cancelled_and_a_begun_one_unknown() {
    let (backend, writer, _task) = gated();
    backend.gate.add_permits(1);
    backend.answers.forget_permits(Semaphore::MAX_PERMITS);
    let (begun, queued) = tokio::join!(writer.append(an_append(1)), async {
        tokio::task::yield_now().await;
        writer.append(an_append(1)).await
    });
    assert!(matches!(begun, Err(AppendError::Unknown(_))), "{begun:?}");
    assert!(matches!(queued, Err(AppendError::Store(StoreError::Unavailable { .. }))), "{queued:?}");
    backend.answers.add_permits(10);
    backend.gate.add_permits(10);
    writer.append(an_append(1)).await.unwrap();
    assert_eq!(
        backend.memory.head().await.unwrap().position,
        Position::new(2),
        "the cancelled append was never committed"
    );
}

#[tokio::test(start_paused = true)]
async fn append_of_a_batch_that_waits_to_begin_is_cancelled_and_never_committed() {
    let (backend, writer, _task) = gated();
    let waiting = tokio::join!(writer.append(an_append(1)), writer.append(an_append(1)));
    for result in [waiting.0, waiting.1] {
        assert!(matches!(result, Err(AppendError::Store(StoreError::Unavailable { .. }))), "{result:?}");
    }
    backend.gate.add_permits(10);
    assert_eq!(writer.append(an_append(1)).await.unwrap().position, Position::new(1));
    let counted = writer.metrics();
    assert_eq!((counted.appends(AppendOutcome::Appended), counted.appends(AppendOutcome::Failed)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn close_drains_queued_appends_and_rejects_new_ones() {
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
async fn dropped_caller_does_not_cancel_the_append() {
    let (backend, writer, _task) = gated();
    let caller = queued(&writer, an_append(1));
    tokio::task::yield_now().await;
    caller.abort();
    backend.gate.add_permits(1);
    backend.watch_progress().wait_for(|progress| progress.head == Position::new(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn writer_death_leaves_a_begun_append_unknown_and_queued_one_undone() {
    let (backend, writer, task) = gated();
    backend.gate.add_permits(1);
    backend.answers.forget_permits(Semaphore::MAX_PERMITS);
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
