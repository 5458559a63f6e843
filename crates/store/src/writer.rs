//! Group commit: one task per process packs the appends that wait into one transaction. While one is in flight the
//! next batch grows, so throughput rises with load while a lone append waits for nobody. The task owns every write:
//! a caller who hangs up loses the answer, never the event.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::ambient::Ambient;
use crate::append::AppendError;
use crate::backend::{Backend, CommitError, Verdict};
use crate::checkpoint::Signer;
use crate::judge::{Batch, PreparedAppend};

/// Batches beyond this many events buy latency, not throughput (measured on MongoDB).
const MAX_BATCH_EVENTS: usize = 512;
/// Keeps a transaction's oplog entry far below the 16 MB of one document.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How many appends may wait; one more is refused as [`AppendError::Busy`].
const QUEUE: usize = 4096;

struct Waiting {
    append: PreparedAppend,
    answer: oneshot::Sender<Verdict>,
}

/// The sending side of the writer task. When the last one is dropped, the task finishes what waits and ends.
#[derive(Clone)]
pub(crate) struct Writer(mpsc::Sender<Waiting>);

impl Writer {
    /// Starts the task.
    pub(crate) fn start(
        backend: Arc<dyn Backend>,
        signer: Arc<Signer>,
        ambient: Ambient,
    ) -> (Self, JoinHandle<()>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Self(sender), tokio::spawn(Task { backend, signer, ambient, queue, held: None }.run()))
    }

    /// Hands an append over and waits for its verdict. Once handed over it will be judged, waited for or not.
    pub(crate) async fn append(&self, append: PreparedAppend) -> Verdict {
        let (answer, verdict) = oneshot::channel();
        self.0.try_send(Waiting { append, answer }).map_err(|_| AppendError::Busy)?;
        verdict.await.unwrap_or(Err(AppendError::Busy))
    }
}

struct Task {
    backend: Arc<dyn Backend>,
    signer: Arc<Signer>,
    ambient: Ambient,
    queue: mpsc::Receiver<Waiting>,
    /// The append that did not fit into the last batch: the first of the next.
    held: Option<Waiting>,
}

impl Task {
    async fn run(mut self) {
        while let Some(waiting) = self.next_batch().await {
            let (appends, answers): (Vec<_>, Vec<_>) =
                waiting.into_iter().map(|w| (w.append, w.answer)).unzip();
            let batch = Batch::new(appends, self.ambient.now(), Arc::clone(&self.signer));
            let verdicts = self.backend.commit(Arc::new(batch)).await;
            deliver(answers, verdicts);
        }
    }

    /// Waits for one append and takes whatever else waits already, up to the caps.
    async fn next_batch(&mut self) -> Option<Vec<Waiting>> {
        let first = match self.held.take() {
            Some(held) => held,
            None => self.queue.recv().await?,
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
