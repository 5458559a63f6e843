//! More appends than fit into one batch: the capacity of the queue, its order, and the counters.

use super::*;

/// Permits one commit and waits for it; returns the new head.
async fn commit_one_batch(backend: &Gated) -> u64 {
    let before = backend.memory.head().await.unwrap().position;
    backend.gate.add_permits(1);
    backend.watch_progress().wait_for(|progress| progress.head > before).await.unwrap();
    backend.memory.head().await.unwrap().position.get()
}

/// Waits until every task is idle: only then does the paused clock advance.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// An append of one event with this approximate size.
fn an_append_of_bytes(bytes: usize) -> PreparedAppend {
    let mut append = an_append(1);
    append.bytes = bytes;
    append
}

#[tokio::test(start_paused = true)]
async fn full_queue_rejects_at_once_and_accepts_again_when_drained() {
    let (backend, writer, _task) = gated();
    // The first is in flight and no longer queued.
    let mut waiting = vec![queued(&writer, an_append(1))];
    settled().await;
    waiting.extend((0..MAX_QUEUED).map(|_| queued(&writer, an_append(1))));
    settled().await;
    assert_eq!(writer.metrics().waiting(), i64::from(MAX_QUEUED));
    assert!(matches!(writer.append(an_append(1)).await, Err(AppendError::Busy)));
    commit_one_batch(&backend).await;
    settled().await;
    waiting.push(queued(&writer, an_append(1)));
    backend.gate.add_permits(100);
    for append in waiting {
        append.await.unwrap().unwrap();
    }
    let counted = writer.metrics();
    assert_eq!((counted.waiting(), counted.appends(AppendOutcome::Busy)), (0, 1));
    assert_eq!(counted.appends(AppendOutcome::Appended), u64::from(MAX_QUEUED) + 2);
}

#[tokio::test(start_paused = true)]
async fn few_large_appends_also_fill_the_queue() {
    let (backend, writer, _task) = gated();
    let first = queued(&writer, an_append(1));
    settled().await;
    let limit = BYTES_PER_PERMIT * usize::try_from(MAX_QUEUED).unwrap();
    let large: Vec<_> = (0..4).map(|_| queued(&writer, an_append_of_bytes(limit / 4))).collect();
    settled().await;
    assert!(matches!(writer.append(an_append(1)).await, Err(AppendError::Busy)));
    backend.gate.add_permits(100);
    for append in std::iter::once(first).chain(large) {
        append.await.unwrap().unwrap();
    }
    // An append larger than the whole queue is accepted while the queue is empty.
    writer.append(an_append_of_bytes(2 * limit)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn small_appends_overtake_queued_large_ones() {
    let (backend, writer, _task) = gated();
    let _first = queued(&writer, an_append(1));
    settled().await;
    let _large: Vec<_> = (0..8).map(|_| queued(&writer, an_append(500))).collect();
    settled().await;
    let small: Vec<_> = (0..100).map(|_| queued(&writer, an_append(1))).collect();
    settled().await;
    assert_eq!(commit_one_batch(&backend).await, 1);
    assert_eq!(commit_one_batch(&backend).await, 601, "a large append and all small ones");
    for append in small {
        append.await.unwrap().unwrap();
    }
    assert_eq!(commit_one_batch(&backend).await, 1101, "then large appends alone");
}

#[tokio::test(start_paused = true)]
async fn close_rejects_at_once_with_several_batches_queued() {
    let (backend, writer, task) = gated();
    let mut waiting = vec![queued(&writer, an_append(1))];
    settled().await;
    waiting.extend((0..2000).map(|_| queued(&writer, an_append(1))));
    settled().await;
    writer.close();
    assert!(matches!(writer.append(an_append(1)).await, Err(AppendError::Busy)));
    backend.gate.add_permits(100);
    task.await.unwrap();
    for append in waiting {
        append.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn append_outcomes_are_counted() {
    let (backend, writer, task) = gated();
    let twice = an_append(2);
    let (first, loser) = (queued(&writer, twice.clone()), queued(&writer, twice));
    settled().await;
    backend.gate.add_permits(1);
    first.await.unwrap().unwrap();
    assert!(matches!(loser.await.unwrap(), Err(AppendError::Conflict { .. })));
    // Without an answer one stays in flight, and the other is cancelled.
    backend.answers.forget_permits(Semaphore::MAX_PERMITS);
    backend.gate.add_permits(1);
    let in_flight = queued(&writer, an_append(1));
    settled().await;
    let cancelled = queued(&writer, an_append(1));
    assert!(matches!(in_flight.await.unwrap(), Err(AppendError::Unknown(_))));
    assert!(matches!(cancelled.await.unwrap(), Err(AppendError::Store(_))));
    backend.answers.add_permits(10);
    writer.close();
    task.await.unwrap();
    // The append with unknown outcome was committed later: it is counted twice.
    let counted = [
        AppendOutcome::Appended,
        AppendOutcome::Refused,
        AppendOutcome::Busy,
        AppendOutcome::Failed,
        AppendOutcome::Unknown,
    ]
    .map(|outcome| writer.metrics().appends(outcome));
    assert_eq!(counted, [2, 1, 0, 1, 1]);
    assert_eq!(writer.metrics().waiting(), 0);
    assert_eq!(writer.metrics().batches(), (2, 5.0));
}
