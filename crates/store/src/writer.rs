//! Group commit: one task per process packs the appends that wait into one transaction. While one is in flight the
//! next batch grows, so throughput rises with load while a lone append waits for nobody. The task owns every write:
//! a caller who hangs up loses the answer, never the event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::ambient::Ambient;
use crate::append::AppendError;
use crate::backend::{Backend, CommitError, Verdict};
use crate::checkpoint::Signer;
use crate::error::StoreError;
use crate::judge::Batch;
use crate::prepared::PreparedAppend;

/// Batches beyond this many events buy latency, not throughput (measured on MongoDB).
const MAX_BATCH_EVENTS: usize = 512;
/// Keeps a transaction's oplog entry far below the 16 MB of one document.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How many appends may wait; one more is refused as [`AppendError::Busy`].
const QUEUE: usize = 4096;

/// How long a caller waits for a verdict. Clients are promised an answer within ten seconds, whatever the database does.
const PATIENCE: Duration = Duration::from_secs(9);

struct Waiting {
    append: PreparedAppend,
    answer: oneshot::Sender<Verdict>,
    fate: Arc<Fate>,
}

/// Whether an append still waits, was taken into a batch, or was withdrawn by a caller who waited too long. Only what
/// still waits can be taken or withdrawn, so a withdrawn append is certain not to happen.
#[derive(Default)]
struct Fate(AtomicU8);

impl Fate {
    const WAITING: u8 = 0;
    const TAKEN: u8 = 1;
    const WITHDRAWN: u8 = 2;

    fn take(&self) -> bool {
        self.settle(Self::TAKEN)
    }

    fn withdraw(&self) -> bool {
        self.settle(Self::WITHDRAWN)
    }

    fn settle(&self, fate: u8) -> bool {
        self.0.compare_exchange(Self::WAITING, fate, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The sending side of the writer task.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Waiting>,
    closing: Arc<Notify>,
}

impl Writer {
    /// Starts the task. It ends once [`Writer::close`] was called, or nobody can send any more, and nothing waits.
    pub(crate) fn start(
        backend: Arc<dyn Backend>,
        signer: Arc<Signer>,
        ambient: Ambient,
    ) -> (Self, JoinHandle<()>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let closing = Arc::new(Notify::new());
        let writer = Self { queue: sender, closing: Arc::clone(&closing) };
        (writer, tokio::spawn(Task { backend, signer, ambient, queue, closing, held: None }.run()))
    }

    /// Refuses further appends. Those that wait are still judged.
    pub(crate) fn close(&self) {
        self.closing.notify_one();
    }

    /// Hands an append over and waits for its verdict. Once taken into a batch it will be judged, waited for or not.
    pub(crate) async fn append(&self, append: PreparedAppend) -> Verdict {
        let (answer, mut verdict) = oneshot::channel();
        let fate = Arc::<Fate>::default();
        let waiting = Waiting { append, answer, fate: Arc::clone(&fate) };
        self.queue.try_send(waiting).map_err(|_| AppendError::Busy)?;
        match tokio::time::timeout(PATIENCE, &mut verdict).await {
            Ok(Ok(verdict)) => verdict,
            // The task has ended without a verdict.
            Ok(Err(_)) if fate.withdraw() => Err(AppendError::Busy),
            Ok(Err(_)) => Err(AppendError::Unknown(no_verdict())),
            Err(_) if fate.withdraw() => Err(AppendError::Store(no_answer("nothing was written"))),
            Err(_) => Err(AppendError::Unknown(no_answer("what was asked of it may still be done"))),
        }
    }
}

fn no_answer(consequence: &str) -> StoreError {
    StoreError::Unavailable {
        what: format!("it has not answered for {PATIENCE:?}; {consequence}"),
        source: None,
    }
}

fn no_verdict() -> StoreError {
    let what = "the writing of events has ended; what was asked of it may still be done";
    StoreError::Unavailable { what: what.to_owned(), source: None }
}

struct Task {
    backend: Arc<dyn Backend>,
    signer: Arc<Signer>,
    ambient: Ambient,
    queue: mpsc::Receiver<Waiting>,
    closing: Arc<Notify>,
    /// The append that did not fit into the last batch: the first of the next.
    held: Option<Waiting>,
}

impl Task {
    async fn run(mut self) {
        while let Some(waiting) = self.next_batch().await {
            let taken = waiting.into_iter().filter(|waiting| waiting.fate.take());
            let (appends, answers): (Vec<_>, Vec<_>) =
                taken.map(|waiting| (waiting.append, waiting.answer)).unzip();
            if appends.is_empty() {
                continue;
            }
            let batch = Batch::new(appends, self.ambient.now(), Arc::clone(&self.signer));
            let verdicts = self.backend.commit(Arc::new(batch)).await;
            deliver(answers, verdicts);
        }
    }

    /// Waits for one append and takes whatever else waits already, up to the caps.
    async fn next_batch(&mut self) -> Option<Vec<Waiting>> {
        let first = match self.held.take() {
            Some(held) => held,
            None => self.first().await?,
        };
        let (mut events, mut bytes) = (first.append.events(), first.append.bytes);
        let mut batch = vec![first];
        while let Ok(next) = self.queue.try_recv() {
            events += next.append.events();
            bytes += next.append.bytes;
            if events > MAX_BATCH_EVENTS || bytes > MAX_BATCH_BYTES {
                self.held = Some(next);
                break;
            }
            batch.push(next);
        }
        Some(batch)
    }

    async fn first(&mut self) -> Option<Waiting> {
        tokio::select! {
            // Without this, chance would decide between an append and the closing that come at once.
            biased;
            () = self.closing.notified() => self.queue.close(),
            first = self.queue.recv() => return first,
        }
        // Closed: what was sent before is still there to be received, then `None`.
        self.queue.recv().await
    }
}

fn deliver(answers: Vec<oneshot::Sender<Verdict>>, verdicts: Result<Vec<Verdict>, CommitError>) {
    let failed = match verdicts {
        Ok(verdicts) => {
            for (answer, verdict) in answers.into_iter().zip(verdicts) {
                // Nobody waits for it any more: the caller hung up. The event stands all the same.
                drop(answer.send(verdict));
            }
            return;
        }
        Err(CommitError::NotCommitted(error)) => AppendError::Store(error),
        Err(CommitError::Unknown(error)) => AppendError::Unknown(error),
    };
    tracing::warn!(appends = answers.len(), error = %failed, "a batch of appends was not committed");
    for answer in answers {
        drop(answer.send(Err(failed.clone())));
    }
}

#[cfg(test)]
mod tests;
