//! Writes the delivery cursors of this node: those of all webhooks in one transaction, at most every
//! [`WRITE_INTERVAL`]. Workers do not wait for it unless they flush.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use store::{DeliveryProgress, DeliveryRecord, DeliveryStore, StreamId, WriteError};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// The shortest time between two writes.
const WRITE_INTERVAL: Duration = Duration::from_millis(200);
/// Cursors written in one transaction.
const MAX_RECORDS: usize = 100;

/// Takes the cursors of the delivery workers. Cheap to clone.
#[derive(Clone)]
pub(super) struct CursorRecorder(Arc<Shared>);

struct Shared {
    store: Arc<dyn DeliveryStore>,
    /// The webhooks with a submission.
    queue: Mutex<Vec<Arc<Slot>>>,
    submitted: Notify,
}

/// The cursor of one webhook, as stored and as submitted by its worker.
pub(super) struct RecordedCursor {
    recorder: CursorRecorder,
    slot: Arc<Slot>,
}

struct Slot {
    stream: StreamId,
    state: Mutex<SlotState>,
    /// The number of the last submission that was written, or failed.
    settled: watch::Sender<u64>,
}

struct SlotState {
    stored: DeliveryProgress,
    submissions: u64,
    pending: Option<Pending>,
    /// Why a submission was not written. The worker has to read the cursor again.
    failed: Option<WriteError>,
}

/// Submissions that are not written yet.
struct Pending {
    cursor: Value,
    attempts: Vec<Value>,
}

impl CursorRecorder {
    /// Starts the task that writes, until the handle is dropped.
    pub(super) fn start(store: Arc<dyn DeliveryStore>) -> (Self, AbortOnDropHandle<()>) {
        let recorder = Self(Arc::new(Shared { store, queue: Mutex::default(), submitted: Notify::new() }));
        let shared = Arc::clone(&recorder.0);
        (recorder, AbortOnDropHandle::new(tokio::spawn(async move { shared.run().await })))
    }

    pub(super) fn store(&self) -> &dyn DeliveryStore {
        &*self.0.store
    }

    /// The cursor of a webhook, whose stored progress was just read.
    pub(super) fn open(&self, stream: StreamId, stored: DeliveryProgress) -> RecordedCursor {
        let state = SlotState { stored, submissions: 0, pending: None, failed: None };
        let slot = Slot { stream, state: Mutex::new(state), settled: watch::Sender::new(0) };
        RecordedCursor { recorder: self.clone(), slot: Arc::new(slot) }
    }
}

impl RecordedCursor {
    /// Has the cursor written with the next transaction, and the attempts since the last submission.
    ///
    /// # Errors
    /// Why an earlier submission was not written: [`WriteError::Conflict`] if another node delivers this webhook,
    /// or its cursor was deleted. After an error the cursor has to be opened again.
    pub(super) fn submit(&self, cursor: Value, attempts: Vec<Value>) -> Result<(), WriteError> {
        let mut state = lock(&self.slot.state);
        if let Some(failed) = &state.failed {
            return Err(failed.clone());
        }
        state.submissions += 1;
        if let Some(pending) = &mut state.pending {
            pending.cursor = cursor;
            pending.attempts.extend(attempts);
            return Ok(());
        }
        state.pending = Some(Pending { cursor, attempts });
        drop(state);
        lock(&self.recorder.0.queue).push(Arc::clone(&self.slot));
        self.recorder.0.submitted.notify_one();
        Ok(())
    }

    /// Waits until everything submitted is written.
    ///
    /// # Errors
    /// As [`RecordedCursor::submit`].
    pub(super) async fn flush(&self) -> Result<(), WriteError> {
        let submissions = lock(&self.slot.state).submissions;
        let mut settled = self.slot.settled.subscribe();
        // The sender lives as long as the slot.
        drop(settled.wait_for(|settled| *settled >= submissions).await);
        lock(&self.slot.state).failed.clone().map_or(Ok(()), Err)
    }
}

impl Shared {
    async fn run(&self) {
        let mut next_write = Instant::now();
        loop {
            self.submitted.notified().await;
            sleep_until(next_write).await;
            next_write = Instant::now() + WRITE_INTERVAL;
            let slots = std::mem::take(&mut *lock(&self.queue));
            for slots in slots.chunks(MAX_RECORDS) {
                self.write(slots).await;
            }
        }
    }

    async fn write(&self, slots: &[Arc<Slot>]) {
        let (mut begun, mut records) = (Vec::new(), Vec::new());
        for slot in slots {
            if let Some((record, submission)) = slot.begin() {
                begun.push((slot, submission));
                records.push(record);
            }
        }
        let results = match self.store.record_all(&records).await {
            Ok(written) => {
                let result = |is_written| if is_written { Ok(()) } else { Err(WriteError::Conflict) };
                written.into_iter().map(result).collect()
            }
            Err(error) => records.iter().map(|_| Err(WriteError::Store(error.clone()))).collect::<Vec<_>>(),
        };
        for (((slot, submission), record), result) in begun.into_iter().zip(records).zip(results) {
            slot.end(record.to, submission, result);
        }
    }
}

impl Slot {
    /// What to write, and the number of the last submission that it includes; nothing after a failure.
    fn begin(&self) -> Option<(DeliveryRecord, u64)> {
        let mut state = lock(&self.state);
        let Pending { cursor, attempts } = state.pending.take()?;
        let count = u64::try_from(attempts.len()).unwrap_or_default();
        let to = DeliveryProgress {
            revision: state.stored.revision + 1,
            attempts: state.stored.attempts + count,
            state: cursor,
        };
        Some((DeliveryRecord { stream: self.stream.clone(), to, reports: attempts }, state.submissions))
    }

    fn end(&self, written: DeliveryProgress, submission: u64, result: Result<(), WriteError>) {
        let mut state = lock(&self.state);
        match result {
            Ok(()) => state.stored = written,
            Err(error) => (state.failed, state.pending) = (Some(error), None),
        }
        let settled = if state.failed.is_some() { state.submissions } else { submission };
        drop(state);
        self.settled.send_replace(settled);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use serde_json::json;
    use store::memory::Memory;
    use store::{Attempt, StoreError};
    use tokio::time::sleep;

    use super::*;

    /// Counts transactions; the first ones may fail.
    #[derive(Default)]
    struct Counted {
        memory: Memory,
        transactions: AtomicUsize,
        failures: AtomicUsize,
    }

    #[async_trait]
    impl DeliveryStore for Counted {
        async fn progress(&self, stream: &StreamId) -> Result<Option<DeliveryProgress>, StoreError> {
            self.memory.progress(stream).await
        }

        async fn record_all(&self, records: &[DeliveryRecord]) -> Result<Vec<bool>, StoreError> {
            self.transactions.fetch_add(1, Ordering::SeqCst);
            if self.failures.load(Ordering::SeqCst) > 0 {
                self.failures.fetch_sub(1, Ordering::SeqCst);
                return Err(StoreError::Unavailable { what: "an injected failure".to_owned(), source: None });
            }
            self.memory.record_all(records).await
        }

        async fn attempts(
            &self,
            stream: &StreamId,
            below: Option<u64>,
            limit: usize,
        ) -> Result<Vec<Attempt>, StoreError> {
            self.memory.attempts(stream, below, limit).await
        }

        async fn forget(&self, stream: &StreamId) -> Result<(), StoreError> {
            self.memory.forget(stream).await
        }
    }

    fn stream(number: usize) -> StreamId {
        StreamId::new(format!("webhook-{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn cursors_of_all_webhooks_are_written_together_and_at_most_every_interval() {
        let store = Arc::new(Counted::default());
        let (recorder, _task) = CursorRecorder::start(store.clone());
        let cursors: Vec<_> =
            (0..3).map(|number| recorder.open(stream(number), DeliveryProgress::default())).collect();
        for delivered in 1..=50 {
            for cursor in &cursors {
                cursor.submit(json!({"position": delivered}), vec![json!(delivered)]).unwrap();
            }
            sleep(Duration::from_millis(66)).await;
        }
        for cursor in &cursors {
            cursor.flush().await.unwrap();
        }
        let transactions = store.transactions.load(Ordering::SeqCst);
        assert!(transactions <= 50 * 66 / 200 + 2, "{transactions} transactions for 3 times 50 deliveries");
        for number in 0..3 {
            let progress = store.progress(&stream(number)).await.unwrap().unwrap();
            assert_eq!((&progress.state["position"], progress.attempts), (&json!(50), 50));
            assert_eq!(store.attempts(&stream(number), None, 100).await.unwrap().len(), 50);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn conflict_is_reported_to_the_worker_concerned() {
        let store = Arc::new(Counted::default());
        let (recorder, _task) = CursorRecorder::start(store.clone());
        let (loser, other) = (
            recorder.open(stream(1), DeliveryProgress::default()),
            recorder.open(stream(2), DeliveryProgress::default()),
        );
        let elsewhere = DeliveryProgress { revision: 1, attempts: 0, state: json!("another node") };
        store.record(&stream(1), &elsewhere, &[]).await.unwrap();
        for cursor in [&loser, &other] {
            cursor.submit(json!("mine"), vec![]).unwrap();
        }
        assert!(matches!(loser.flush().await, Err(WriteError::Conflict)));
        assert!(matches!(loser.submit(json!("again"), vec![]), Err(WriteError::Conflict)));
        other.flush().await.unwrap();
        assert_eq!(store.progress(&stream(1)).await.unwrap(), Some(elsewhere));
        assert_eq!(store.progress(&stream(2)).await.unwrap().unwrap().state, json!("mine"));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_write_is_reported_and_the_cursor_can_be_opened_again() {
        let store = Arc::new(Counted::default());
        let (recorder, _task) = CursorRecorder::start(store.clone());
        store.failures.store(1, Ordering::SeqCst);
        let cursor = recorder.open(stream(1), DeliveryProgress::default());
        cursor.submit(json!(1), vec![]).unwrap();
        assert!(matches!(cursor.flush().await, Err(WriteError::Store(_))));
        let again = recorder.open(stream(1), DeliveryProgress::default());
        again.submit(json!(2), vec![]).unwrap();
        again.flush().await.unwrap();
        assert_eq!(store.progress(&stream(1)).await.unwrap().unwrap().state, json!(2));
    }
}
