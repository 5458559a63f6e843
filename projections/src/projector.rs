//! The projector: applies events to the table of one version, batch after batch, then as they arrive.
//!
//! Applying is idempotent: rows and projection checkpoint move together by compare-and-set, so that several
//! projectors at work on one table do no harm. A projector never skips an event on its own; at a poison event
//! it halts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use store::{EventQuery, ProjectionCheckpoint, StoreError, WriteError};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::batch_size::{BatchSize, EventRate};
use crate::cutover::Cutover;
use crate::report::{VersionHealth, VersionReport};
use crate::table_projection::{BatchError, ProjectionBatch, TableProjection, retryable};

/// How often to look for events even without a notification, in case one was lost.
const POLL: Duration = Duration::from_secs(1);
/// After a conflict, how long the checkpoint must be idle before this projector tries again.
const YIELD_UNTIL_IDLE: Duration = Duration::from_millis(200);
/// The delay after the first failure of the database; doubled with each further one.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// The status of a projector, shared with its supervisor.
pub(crate) type SharedStatus = Arc<Mutex<VersionReport>>;

/// Applies events to one version.
pub(crate) struct Projector {
    projection: TableProjection,
    status: SharedStatus,
    batch_size: BatchSize,
    rate: EventRate,
    /// The next batch, read while the current one is written.
    prefetch: Option<Prefetch>,
}

/// A batch being read ahead, and from where.
struct Prefetch {
    from: ProjectionCheckpoint,
    reading: JoinHandle<Result<ProjectionBatch, BatchError>>,
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// The result of one batch.
enum Progress {
    /// Rows and checkpoint moved.
    Moved(ProjectionCheckpoint),
    /// Every event is applied.
    Current(ProjectionCheckpoint),
}

impl Projector {
    pub(crate) fn new(projection: TableProjection, status: SharedStatus) -> Self {
        Self {
            projection,
            status,
            batch_size: BatchSize::default(),
            rate: EventRate::default(),
            prefetch: None,
        }
    }

    /// Projects without end. Whenever every event is applied, a version that is being built attempts its
    /// cutover.
    pub(crate) async fn run(mut self, cutover: Cutover) {
        let mut pause = MIN_RETRY_DELAY;
        let mut at = None;
        loop {
            let stopped = match self.project_next_batch(at).await {
                Ok(Progress::Moved(moved)) => {
                    (at, pause) = (Some(moved), MIN_RETRY_DELAY);
                    self.show(VersionHealth::Running, Some(moved));
                    continue;
                }
                Ok(Progress::Current(reached)) => {
                    self.set_oldest_pending(None);
                    self.show(VersionHealth::Running, Some(reached));
                    match cutover.try_promote(&self.projection, reached).await {
                        Ok(reached) => {
                            (at, pause) = (self.wait_for_events(reached).await, MIN_RETRY_DELAY);
                            continue;
                        }
                        Err(stopped) => stopped,
                    }
                }
                Err(stopped) => stopped,
            };
            (at, self.prefetch) = (None, None);
            match stopped {
                BatchError::Failed(WriteError::Conflict) => self.yield_to_other_projector().await,
                BatchError::Failed(WriteError::Store(error)) => {
                    tracing::warn!(table = &*self.projection.table.name, %error, "projection failed; retrying in {pause:?}");
                    self.show(VersionHealth::Failing(error.to_string()), None);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_RETRY_DELAY);
                }
                BatchError::Locked { after, error } | BatchError::Poisoned { after, error } => {
                    self.halt(after, error.to_string()).await;
                }
            }
        }
    }

    /// Projects one batch, if there is one, while the next one is read.
    async fn project_next_batch(&mut self, at: Option<ProjectionCheckpoint>) -> Result<Progress, BatchError> {
        let from = match at {
            Some(known) => known,
            None => self.projection.checkpoint().await.map_err(retryable)?,
        };
        let batch = match self.prefetch.take() {
            Some(mut prefetch) if prefetch.from == from => {
                let read = (&mut prefetch.reading).await;
                read.map_err(|stopped| retryable(StoreError::unavailable("reading events", stopped)))??
            }
            _ => read(&self.projection, from, self.limit()).await?,
        };
        if batch.to == from.position {
            return Ok(Progress::Current(from));
        }
        self.set_oldest_pending(batch.oldest);
        let events = batch.to.get() - from.position.get();
        let full = events >= self.batch_size.size();
        let begun = Instant::now();
        let reading = full.then(|| self.read_ahead(ProjectionCheckpoint { position: batch.to, ..from }));
        let moved = self.projection.project(from, batch).await?;
        self.batch_size.record(full, begun.elapsed());
        self.rate.add(events);
        self.prefetch = reading.map(|reading| Prefetch { from: moved, reading });
        Ok(Progress::Moved(moved))
    }

    fn read_ahead(&self, from: ProjectionCheckpoint) -> JoinHandle<Result<ProjectionBatch, BatchError>> {
        let (projection, limit) = (self.projection.clone(), self.limit());
        tokio::spawn(async move { read(&projection, from, limit).await })
    }

    fn limit(&self) -> usize {
        usize::try_from(self.batch_size.size()).unwrap_or(usize::MAX)
    }

    /// Waits for events; returns the checkpoint of the table, if it is still known.
    async fn wait_for_events(&self, from: ProjectionCheckpoint) -> Option<ProjectionCheckpoint> {
        let mut updates = self.projection.context.events.watch_progress();
        let news = updates.wait_for(|progress| {
            let known = progress.checkpoints.get(&self.projection.table.name);
            progress.head > from.position || known.is_some_and(|known| *known > from)
        });
        // Without a notification the checkpoint is read again, in case another projector has moved it.
        tokio::time::timeout(POLL, news).await.is_ok().then_some(from)
    }

    /// Halts until the next attempt. Another node, which knows the event type or has the master key, may move
    /// the checkpoint, or an operator may record a skip.
    async fn halt(&self, after: ProjectionCheckpoint, reason: String) {
        let table = &*self.projection.table.name;
        if self.show(VersionHealth::Halted(reason.clone()), Some(after)) {
            tracing::error!(table, position = after.position.get(), %reason, "projection halted");
        }
        tokio::time::sleep(POLL).await;
    }

    async fn yield_to_other_projector(&self) {
        let events = &self.projection.context.events;
        let mut updates = events.watch_progress();
        loop {
            let seen = events.progress().applied_position(&self.projection.table.name);
            let moved =
                updates.wait_for(|progress| progress.applied_position(&self.projection.table.name) != seen);
            if tokio::time::timeout(YIELD_UNTIL_IDLE, moved).await.is_err() {
                return;
            }
        }
    }

    fn set_oldest_pending(&self, oldest: Option<Timestamp>) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).oldest = oldest;
    }

    /// Publishes the status; returns whether the health changed.
    fn show(&self, health: VersionHealth, at: Option<ProjectionCheckpoint>) -> bool {
        let mut shown = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let news = shown.health != health;
        shown.health = health;
        shown.position = at.map_or(shown.position, |at| at.position.get());
        shown.rate = self.rate.per_second();
        news
    }
}

async fn read(
    projection: &TableProjection,
    from: ProjectionCheckpoint,
    limit: usize,
) -> Result<ProjectionBatch, BatchError> {
    let head = projection.context.events.progress().head;
    let query = EventQuery { after: from.position, limit, ..EventQuery::default() };
    projection.read(from, &query, head).await
}
