//! Group commit: one task per process packs the appends that wait into one transaction. While one is in flight the
//! next batch grows, so throughput rises with load while a lone append waits for nobody: no batch is held back in the
//! hope of more. The task owns every write: a caller who hangs up loses the answer, never the event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::append::{AppendError, AppendResult};
use crate::backend::{Backend, CommitError};
use crate::checkpoint::Signer;
use crate::commit_planner::Batch;
use crate::env::Env;
use crate::error::StoreError;
use crate::fair_queue::{AppendSize, FairQueue};
use crate::metrics::Metrics;
use crate::prepared::PreparedAppend;

/// How many appends may wait; one more is refused as [`AppendError::Busy`].
const MAX_QUEUED: u32 = 4096;
/// One that is larger than this counts as several, which bounds the memory of all that wait: 64 MiB.
const BYTES_PER_PERMIT: usize = 16 * 1024;

/// How long a caller waits for a verdict. Clients are promised an answer within ten seconds, whatever the database does.
const APPEND_TIMEOUT: Duration = Duration::from_secs(9);

struct QueuedAppend {
    append: PreparedAppend,
    answer: oneshot::Sender<AppendResult>,
    cancellation: Arc<Cancellation>,
    /// Its place in the queue, free again once it is taken out.
    place: OwnedSemaphorePermit,
}

impl QueuedAppend {
    fn size(&self) -> AppendSize {
        AppendSize { events: self.append.events(), bytes: self.append.bytes }
    }
}

/// Whether an append still waits, was taken into a batch, or was withdrawn by a caller who waited too long. Only what
/// still waits can be taken or withdrawn, so a withdrawn append is certain not to happen.
#[derive(Default)]
struct Cancellation(AtomicU8);

impl Cancellation {
    const QUEUED: u8 = 0;
    const COMMITTING: u8 = 1;
    const CANCELLED: u8 = 2;

    fn take(&self) -> bool {
        self.transition(Self::COMMITTING)
    }

    fn cancel(&self) -> bool {
        self.transition(Self::CANCELLED)
    }

    fn transition(&self, cancellation: u8) -> bool {
        self.0.compare_exchange(Self::QUEUED, cancellation, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The sending side of the writer task.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::UnboundedSender<QueuedAppend>,
    /// As many permits as may still wait: the channel itself has no bound.
    room: Arc<Semaphore>,
    closing: Arc<Notify>,
    metrics: Metrics,
}

impl Writer {
    /// Starts the task. It ends once [`Writer::close`] was called, or nobody can send any more, and nothing waits.
    pub(crate) fn start(backend: Arc<dyn Backend>, signer: Arc<Signer>, env: Env) -> (Self, JoinHandle<()>) {
        let (sender, queue) = mpsc::unbounded_channel();
        let writer = Self {
            queue: sender,
            room: Arc::new(Semaphore::new(MAX_QUEUED.try_into().unwrap_or(usize::MAX))),
            closing: Arc::default(),
            metrics: Metrics::new(backend.retries()),
        };
        let (closing, metrics) = (Arc::clone(&writer.closing), writer.metrics.clone());
        let task = WriterTask {
            backend,
            signer,
            env,
            queue,
            closing,
            metrics,
            waiting: FairQueue::default(),
            responders: JoinSet::new(),
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
    pub(crate) async fn append(&self, append: PreparedAppend) -> AppendResult {
        let (answer, mut result) = oneshot::channel();
        let cancellation = Arc::<Cancellation>::default();
        if self.queue(append, answer, &cancellation).is_none() {
            return self.reject(AppendError::Busy);
        }
        match tokio::time::timeout(APPEND_TIMEOUT, &mut result).await {
            Ok(Ok(result)) => result,
            // The task has ended without a verdict.
            Ok(Err(_)) if cancellation.cancel() => self.reject(AppendError::Busy),
            Ok(Err(_)) => self.reject(AppendError::Unknown(writer_stopped())),
            Err(_) if cancellation.cancel() => {
                self.reject(AppendError::Store(append_timed_out("nothing was written")))
            }
            Err(_) => {
                self.reject(AppendError::Unknown(append_timed_out("what was asked of it may still be done")))
            }
        }
    }

    /// Lets an append wait, if there is room for it and the queue is open.
    fn queue(
        &self,
        append: PreparedAppend,
        answer: oneshot::Sender<AppendResult>,
        cancellation: &Arc<Cancellation>,
    ) -> Option<()> {
        let places =
            u32::try_from(append.bytes.div_ceil(BYTES_PER_PERMIT)).unwrap_or(MAX_QUEUED).clamp(1, MAX_QUEUED);
        let place = Arc::clone(&self.room).try_acquire_many_owned(places).ok()?;
        self.metrics.queued();
        let waiting = QueuedAppend { append, answer, cancellation: Arc::clone(cancellation), place };
        self.queue.send(waiting).map_err(|_| self.metrics.dequeued()).ok()
    }

    /// Counts what a caller is told without the task having judged it.
    fn reject(&self, error: AppendError) -> AppendResult {
        let result = Err(error);
        self.metrics.record_result(&result);
        result
    }
}

fn append_timed_out(consequence: &str) -> StoreError {
    StoreError::Unavailable {
        what: format!("it has not answered for {APPEND_TIMEOUT:?}; {consequence}"),
        source: None,
    }
}

fn writer_stopped() -> StoreError {
    let what = "the writing of events has ended; what was asked of it may still be done";
    StoreError::Unavailable { what: what.to_owned(), source: None }
}

struct WriterTask {
    backend: Arc<dyn Backend>,
    signer: Arc<Signer>,
    env: Env,
    queue: mpsc::UnboundedReceiver<QueuedAppend>,
    closing: Arc<Notify>,
    metrics: Metrics,
    /// What was received and is not taken into a batch yet.
    waiting: FairQueue<QueuedAppend>,
    /// Who is being told.
    responders: JoinSet<()>,
}

impl WriterTask {
    async fn run(mut self) {
        while let Some(waiting) = self.next_batch().await {
            let (mut appends, mut answers) = (Vec::new(), Vec::new());
            for QueuedAppend { append, answer, cancellation, place } in waiting {
                drop(place);
                self.metrics.dequeued();
                if cancellation.take() {
                    appends.push(append);
                    answers.push(answer);
                }
            }
            if !appends.is_empty() {
                self.commit(appends, answers).await;
            }
        }
        self.responders.join_all().await;
    }

    /// Commits a batch and hands the results to the callers.
    #[tracing::instrument(
        name = "commit",
        skip_all,
        fields(
            request_id = sole_request_id(&appends),
            appends = appends.len(),
            events = count_events(&appends),
        )
    )]
    async fn commit(&mut self, appends: Vec<PreparedAppend>, answers: Vec<oneshot::Sender<AppendResult>>) {
        let events = count_events(&appends);
        let batch = Batch::new(appends, self.env.now(), Arc::clone(&self.signer));
        let begun = Instant::now();
        let results = self.backend.commit(Arc::new(batch)).await;
        self.metrics.committed(events, begun.elapsed().as_secs_f64());
        self.respond(answers, per_append(results));
    }

    /// Tells each caller, in a task of its own: hundreds who wake at once keep all threads busy, and the next batch
    /// would wait behind them.
    fn respond(
        &mut self,
        answers: Vec<oneshot::Sender<AppendResult>>,
        results: impl Iterator<Item = AppendResult> + Send + 'static,
    ) {
        let metrics = self.metrics.clone();
        while self.responders.try_join_next().is_some() {}
        self.responders.spawn(async move {
            for (answer, result) in answers.into_iter().zip(results) {
                metrics.record_result(&result);
                // Nobody may wait for it any more: the caller hung up. The event stands all the same.
                drop(answer.send(result));
            }
        });
    }

    /// Waits for one append, then takes what waits already, up to what one batch holds.
    async fn next_batch(&mut self) -> Option<Vec<QueuedAppend>> {
        if self.waiting.is_empty() {
            let first = self.first().await?;
            self.waiting.push(first.size(), first);
        }
        while let Ok(next) = self.queue.try_recv() {
            self.waiting.push(next.size(), next);
        }
        Some(self.waiting.next_batch())
    }

    async fn first(&mut self) -> Option<QueuedAppend> {
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

fn count_events(appends: &[PreparedAppend]) -> usize {
    appends.iter().map(PreparedAppend::events).sum()
}

/// The request that caused the batch; `None` if several requests share it.
fn sole_request_id(appends: &[PreparedAppend]) -> Option<&str> {
    match appends {
        [append] => Some(&append.request_id),
        _ => None,
    }
}

/// The result of each append of a batch.
fn per_append(
    results: Result<Vec<AppendResult>, CommitError>,
) -> Box<dyn Iterator<Item = AppendResult> + Send> {
    let failed = match results {
        Ok(results) => return Box::new(results.into_iter()),
        Err(CommitError::NotCommitted(error)) => AppendError::Store(error),
        Err(CommitError::Unknown(error)) => AppendError::Unknown(error),
    };
    tracing::warn!(error = %failed, "a batch of appends was not committed");
    Box::new(std::iter::repeat_with(move || Err(failed.clone())))
}

#[cfg(test)]
mod tests;
