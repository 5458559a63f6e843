//! Group commit: one task per process packs the queued appends into one transaction.
//!
//! While a commit is in flight, the next batch grows, so throughput rises with load. No batch is delayed to
//! collect more appends. The task owns every write: a caller that is cancelled loses the result, never the
//! event. Deciding which appends are accepted belongs in [`commit_planner`](crate::commit_planner).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::append::{AppendError, AppendResult};
use crate::backend::{Backend, CommitError};
use crate::cancellation::Cancellation;
use crate::checkpoint::Signer;
use crate::commit_planner::Batch;
use crate::env::Env;
use crate::error::StoreError;
use crate::fair_queue::{AppendSize, FairQueue};
use crate::log_time::LogClock;
use crate::metrics::Metrics;
use crate::prepared::PreparedAppend;

/// The capacity of the queue; further appends are rejected as [`AppendError::Busy`].
const MAX_QUEUED: u32 = 4096;
/// The bytes for which an append takes one place. Larger ones take several, which limits the queue to 64 MiB.
const BYTES_PER_PERMIT: usize = 16 * 1024;

/// How long a caller waits for the result: clients get an answer within ten seconds, whatever the database
/// does.
const APPEND_TIMEOUT: Duration = Duration::from_millis(8_500);

struct QueuedAppend {
    append: PreparedAppend,
    answer: oneshot::Sender<AppendResult>,
    /// Its places in the queue, released when it is taken into a batch.
    place: OwnedSemaphorePermit,
}

impl QueuedAppend {
    fn size(&self) -> AppendSize {
        AppendSize { events: self.append.events(), bytes: self.append.bytes }
    }
}

/// Who waits for the result of an append.
struct Caller {
    answer: oneshot::Sender<AppendResult>,
    cancellation: Cancellation,
}

/// The sending side of the writer task.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::UnboundedSender<QueuedAppend>,
    /// One permit for each free place: the channel itself is unbounded.
    room: Arc<Semaphore>,
    closing: Arc<Notify>,
    metrics: Metrics,
    clock: Arc<LogClock>,
}

impl Writer {
    /// Starts the task. It ends when the writer is closed or dropped and the queue is empty.
    pub(crate) fn start(backend: Arc<dyn Backend>, signer: Arc<Signer>, env: Env) -> (Self, JoinHandle<()>) {
        let (sender, queue) = mpsc::unbounded_channel();
        let writer = Self {
            queue: sender,
            room: Arc::new(Semaphore::new(MAX_QUEUED.try_into().unwrap_or(usize::MAX))),
            closing: Arc::default(),
            metrics: Metrics::new(backend.retries()),
            clock: Arc::new(LogClock::new(env, backend.clock().cloned())),
        };
        let (closing, metrics) = (Arc::clone(&writer.closing), writer.metrics.clone());
        let task = WriterTask {
            backend,
            signer,
            clock: Arc::clone(&writer.clock),
            queue,
            closing,
            metrics,
            received: FairQueue::default(),
            responders: JoinSet::new(),
        };
        (writer, tokio::spawn(task.run()))
    }

    /// Rejects further appends. Those in the queue are still committed.
    pub(crate) fn close(&self) {
        self.room.close();
        self.closing.notify_one();
    }

    /// The counters of this writer.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The clock that stamps the events.
    pub(crate) fn clock(&self) -> &LogClock {
        &self.clock
    }

    /// Queues an append and waits for its result. It is committed even if the caller is cancelled. If no
    /// transaction has begun it when the wait ends, it never will be.
    pub(crate) async fn append(&self, append: PreparedAppend) -> AppendResult {
        let (answer, mut result) = oneshot::channel();
        let cancellation = append.cancellation.clone();
        if self.queue(append, answer).is_none() {
            return self.reject(AppendError::Busy);
        }
        match tokio::time::timeout(APPEND_TIMEOUT, &mut result).await {
            Ok(Ok(result)) => result,
            // The task ended without a result.
            Ok(Err(_)) if cancellation.cancel() => self.reject(AppendError::Busy),
            Ok(Err(_)) => self.reject(AppendError::Unknown(writer_stopped())),
            Err(_) if cancellation.cancel() => {
                self.reject(AppendError::Store(append_timed_out("nothing was written")))
            }
            Err(_) => {
                self.reject(AppendError::Unknown(append_timed_out("the append may still be committed")))
            }
        }
    }

    /// Queues an append; `None` if the queue is full or closed.
    fn queue(&self, append: PreparedAppend, answer: oneshot::Sender<AppendResult>) -> Option<()> {
        let places =
            u32::try_from(append.bytes.div_ceil(BYTES_PER_PERMIT)).unwrap_or(MAX_QUEUED).clamp(1, MAX_QUEUED);
        let place = Arc::clone(&self.room).try_acquire_many_owned(places).ok()?;
        self.metrics.queued();
        let queued = QueuedAppend { append, answer, place };
        self.queue.send(queued).map_err(|_| self.metrics.dequeued()).ok()
    }

    /// Counts a result that does not come from the task.
    fn reject(&self, error: AppendError) -> AppendResult {
        let result = Err(error);
        self.metrics.record_result(&result);
        result
    }
}

fn append_timed_out(consequence: &str) -> StoreError {
    StoreError::Unavailable {
        what: format!("no commit within {APPEND_TIMEOUT:?}; {consequence}"),
        source: None,
    }
}

fn writer_stopped() -> StoreError {
    let what = "the writer task has stopped; the append may still be committed";
    StoreError::Unavailable { what: what.to_owned(), source: None }
}

struct WriterTask {
    backend: Arc<dyn Backend>,
    signer: Arc<Signer>,
    clock: Arc<LogClock>,
    queue: mpsc::UnboundedReceiver<QueuedAppend>,
    closing: Arc<Notify>,
    metrics: Metrics,
    /// Appends received and not yet taken into a batch.
    received: FairQueue<QueuedAppend>,
    /// Tasks that hand results to callers.
    responders: JoinSet<()>,
}

impl WriterTask {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let (mut appends, mut callers) = (Vec::new(), Vec::new());
            for QueuedAppend { append, answer, place } in batch {
                drop(place);
                self.metrics.dequeued();
                if !append.cancellation.is_cancelled() {
                    callers.push(Caller { answer, cancellation: append.cancellation.clone() });
                    appends.push(append);
                }
            }
            if !appends.is_empty() {
                self.commit(appends, callers).await;
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
    async fn commit(&mut self, appends: Vec<PreparedAppend>, callers: Vec<Caller>) {
        let events = count_events(&appends);
        let time = match self.clock.commit_time() {
            Ok(time) => time,
            Err(jump) => {
                return self.respond(callers, std::iter::repeat_with(move || Err(jump.into())));
            }
        };
        let batch = Batch::new(appends, time, Arc::clone(&self.signer));
        let begun = Instant::now();
        let results = self.backend.commit(Arc::new(batch)).await;
        let elapsed = begun.elapsed();
        self.metrics.committed(events, elapsed.as_secs_f64());
        tracing::debug!(ms = elapsed.as_millis(), ok = results.is_ok(), "batch of appends completed");
        self.respond(callers, per_append(results));
    }

    /// Hands the results to the callers, in a separate task: hundreds of callers that wake at once occupy all
    /// threads, and the next batch would wait for them.
    fn respond(
        &mut self,
        callers: Vec<Caller>,
        results: impl Iterator<Item = AppendResult> + Send + 'static,
    ) {
        let metrics = self.metrics.clone();
        while self.responders.try_join_next().is_some() {}
        self.responders.spawn(async move {
            for (Caller { answer, cancellation }, result) in callers.into_iter().zip(results) {
                // Counted when it was cancelled.
                if !cancellation.is_cancelled() {
                    metrics.record_result(&result);
                }
                // Fails if the caller was cancelled. The event is committed all the same.
                drop(answer.send(result));
            }
        });
    }

    /// Waits for one append, then takes those already queued, up to the limits of a batch.
    async fn next_batch(&mut self) -> Option<Vec<QueuedAppend>> {
        if self.received.is_empty() {
            let first = self.first().await?;
            self.received.push(first.size(), first);
        }
        while let Ok(next) = self.queue.try_recv() {
            self.received.push(next.size(), next);
        }
        Some(self.received.next_batch())
    }

    async fn first(&mut self) -> Option<QueuedAppend> {
        tokio::select! {
            // Closing has priority; without this the choice would be random.
            biased;
            () = self.closing.notified() => self.queue.close(),
            first = self.queue.recv() => return first,
        }
        // Closed: returns the appends that were sent before, then `None`.
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
