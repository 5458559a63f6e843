//! Group commit: one task per process packs the appends that wait into one transaction. While one is in flight the
//! next batch grows, so throughput rises with load while a lone append waits for nobody: no batch is held back in the
//! hope of more. The task owns every write: a caller who hangs up loses the answer, never the event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::ambient::Ambient;
use crate::append::AppendError;
use crate::backend::{Backend, CommitError, Verdict};
use crate::checkpoint::Signer;
use crate::error::StoreError;
use crate::judge::Batch;
use crate::lanes::{Lanes, Load};
use crate::metrics::Metrics;
use crate::prepared::PreparedAppend;

/// How many appends may wait; one more is refused as [`AppendError::Busy`].
const QUEUE: u32 = 4096;
/// One that is larger than this counts as several, which bounds the memory of all that wait: 64 MiB.
const BYTES_OF_ONE: usize = 16 * 1024;

/// How long a caller waits for a verdict. Clients are promised an answer within ten seconds, whatever the database does.
const PATIENCE: Duration = Duration::from_secs(9);

struct Waiting {
    append: PreparedAppend,
    answer: oneshot::Sender<Verdict>,
    fate: Arc<Fate>,
    /// Its place in the queue, free again once it is taken out.
    place: OwnedSemaphorePermit,
}

impl Waiting {
    fn load(&self) -> Load {
        Load { events: self.append.events(), bytes: self.append.bytes }
    }
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
    queue: mpsc::UnboundedSender<Waiting>,
    /// As many permits as may still wait: the channel itself has no bound.
    room: Arc<Semaphore>,
    closing: Arc<Notify>,
    metrics: Metrics,
}

impl Writer {
    /// Starts the task. It ends once [`Writer::close`] was called, or nobody can send any more, and nothing waits.
    pub(crate) fn start(
        backend: Arc<dyn Backend>,
        signer: Arc<Signer>,
        ambient: Ambient,
    ) -> (Self, JoinHandle<()>) {
        let (sender, queue) = mpsc::unbounded_channel();
        let writer = Self {
            queue: sender,
            room: Arc::new(Semaphore::new(QUEUE.try_into().unwrap_or(usize::MAX))),
            closing: Arc::default(),
            metrics: Metrics::new(backend.retries()),
        };
        let (closing, metrics) = (Arc::clone(&writer.closing), writer.metrics.clone());
        let task = Task {
            backend,
            signer,
            ambient,
            queue,
            closing,
            metrics,
            lanes: Lanes::default(),
            telling: JoinSet::new(),
        };
        (writer, tokio::spawn(task.run()))
    }

    /// Refuses further appends, from now on. Those that wait are still judged.
    pub(crate) fn close(&self) {
        self.room.close();
        self.closing.notify_one();
    }

    /// What was counted so far.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Hands an append over and waits for its verdict. Once taken into a batch it will be judged, waited for or not.
    pub(crate) async fn append(&self, append: PreparedAppend) -> Verdict {
        let (answer, mut verdict) = oneshot::channel();
        let fate = Arc::<Fate>::default();
        if self.queue(append, answer, &fate).is_none() {
            return self.unjudged(AppendError::Busy);
        }
        match tokio::time::timeout(PATIENCE, &mut verdict).await {
            Ok(Ok(verdict)) => verdict,
            // The task has ended without a verdict.
            Ok(Err(_)) if fate.withdraw() => self.unjudged(AppendError::Busy),
            Ok(Err(_)) => self.unjudged(AppendError::Unknown(no_verdict())),
            Err(_) if fate.withdraw() => self.unjudged(AppendError::Store(no_answer("nothing was written"))),
            Err(_) => {
                self.unjudged(AppendError::Unknown(no_answer("what was asked of it may still be done")))
            }
        }
    }

    /// Lets an append wait, if there is room for it and the queue is open.
    fn queue(
        &self,
        append: PreparedAppend,
        answer: oneshot::Sender<Verdict>,
        fate: &Arc<Fate>,
    ) -> Option<()> {
        let places = u32::try_from(append.bytes.div_ceil(BYTES_OF_ONE)).unwrap_or(QUEUE).clamp(1, QUEUE);
        let place = Arc::clone(&self.room).try_acquire_many_owned(places).ok()?;
        self.metrics.queued();
        let waiting = Waiting { append, answer, fate: Arc::clone(fate), place };
        self.queue.send(waiting).map_err(|_| self.metrics.left_queue()).ok()
    }

    /// Counts what a caller is told without the task having judged it.
    fn unjudged(&self, error: AppendError) -> Verdict {
        let verdict = Err(error);
        self.metrics.ended(&verdict);
        verdict
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
    queue: mpsc::UnboundedReceiver<Waiting>,
    closing: Arc<Notify>,
    metrics: Metrics,
    /// What was received and is not taken into a batch yet.
    lanes: Lanes<Waiting>,
    /// Who is being told.
    telling: JoinSet<()>,
}

impl Task {
    async fn run(mut self) {
        while let Some(waiting) = self.next_batch().await {
            let (mut appends, mut answers) = (Vec::new(), Vec::new());
            for Waiting { append, answer, fate, place } in waiting {
                drop(place);
                self.metrics.left_queue();
                if fate.take() {
                    appends.push(append);
                    answers.push(answer);
                }
            }
            if !appends.is_empty() {
                self.commit(appends, answers).await;
            }
        }
        self.telling.join_all().await;
    }

    /// Has a batch judged and written, and each caller told of it.
    async fn commit(&mut self, appends: Vec<PreparedAppend>, answers: Vec<oneshot::Sender<Verdict>>) {
        let events = appends.iter().map(PreparedAppend::events).sum();
        let batch = Batch::new(appends, self.ambient.now(), Arc::clone(&self.signer));
        let begun = Instant::now();
        let verdicts = self.backend.commit(Arc::new(batch)).await;
        self.metrics.committed(events, begun.elapsed().as_secs_f64());
        self.tell(answers, verdicts);
    }

    /// Tells each caller, in a task of its own: hundreds who wake at once keep all threads busy, and the next batch
    /// would wait behind them.
    fn tell(&mut self, answers: Vec<oneshot::Sender<Verdict>>, verdicts: Result<Vec<Verdict>, CommitError>) {
        let metrics = self.metrics.clone();
        while self.telling.try_join_next().is_some() {}
        self.telling.spawn(async move {
            for (answer, verdict) in answers.into_iter().zip(each(verdicts)) {
                metrics.ended(&verdict);
                // Nobody may wait for it any more: the caller hung up. The event stands all the same.
                drop(answer.send(verdict));
            }
        });
    }

    /// Waits for one append, then takes what waits already, up to what one batch holds.
    async fn next_batch(&mut self) -> Option<Vec<Waiting>> {
        if self.lanes.is_empty() {
            let first = self.first().await?;
            self.lanes.push(first.load(), first);
        }
        while let Ok(next) = self.queue.try_recv() {
            self.lanes.push(next.load(), next);
        }
        Some(self.lanes.next_batch())
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

/// The verdict on each append of a batch.
fn each(verdicts: Result<Vec<Verdict>, CommitError>) -> Box<dyn Iterator<Item = Verdict> + Send> {
    let failed = match verdicts {
        Ok(verdicts) => return Box::new(verdicts.into_iter()),
        Err(CommitError::NotCommitted(error)) => AppendError::Store(error),
        Err(CommitError::Unknown(error)) => AppendError::Unknown(error),
    };
    tracing::warn!(error = %failed, "a batch of appends was not committed");
    Box::new(std::iter::repeat_with(move || Err(failed.clone())))
}

#[cfg(test)]
mod tests;
