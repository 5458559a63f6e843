//! Keeping one version up to date: batch after batch, then event by event. Whoever keeps it need not be alone: rows only
//! move from where the checkpoint is. It never skips: on an event it cannot take in, it halts and says so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use store::{EventQuery, ProjectionCheckpoint, StoreError};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::batch_size::{BatchSize, EventRate};
use crate::cutover::Cutover;
use crate::report::{VersionHealth, VersionReport};
use crate::table_projection::{BatchError, ProjectionBatch, TableProjection};

/// A wake-up that got lost costs no more than this.
const POLL: Duration = Duration::from_secs(1);
/// Who was overtaken lets the other one work until nothing has moved for this long.
const YIELD_UNTIL_IDLE: Duration = Duration::from_millis(200);
/// The pause after the first failure of the database; doubled with each further one.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// Where a keeper says how it is doing.
pub(crate) type SharedStatus = Arc<Mutex<VersionReport>>;

/// Keeps one version up to date, for as long as it runs.
pub(crate) struct Projector {
    projection: TableProjection,
    status: SharedStatus,
    batch_size: BatchSize,
    rate: EventRate,
    /// What is read already, while the batch before it is written.
    prefetch: Option<Prefetch>,
}

/// A batch that is being read, and from where.
struct Prefetch {
    from: ProjectionCheckpoint,
    reading: JoinHandle<Result<ProjectionBatch, BatchError>>,
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// What became of one step.
enum Progress {
    /// The rows moved.
    Moved(ProjectionCheckpoint),
    /// There is nothing to do.
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

    /// Works without end. Whenever everything there is has been taken in, a version that is being built is finished.
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
                BatchError::Overtaken => self.yield_to_other_projector().await,
                BatchError::Failed(error) => {
                    tracing::warn!(table = &*self.projection.table.name, %error, "projecting again in {pause:?}");
                    self.show(VersionHealth::Failing(error.to_string()), None);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_RETRY_DELAY);
                }
                BatchError::Locked { after, error } => self.halt(after, error.to_string()).await,
                BatchError::Poisoned { after, reason } => self.halt(after, reason).await,
            }
        }
    }

    /// Projects one batch, if there is one, and has the next one read meanwhile.
    async fn project_next_batch(&mut self, at: Option<ProjectionCheckpoint>) -> Result<Progress, BatchError> {
        let from = match at {
            Some(known) => known,
            None => self.projection.checkpoint().await.map_err(BatchError::Failed)?,
        };
        let batch = match self.prefetch.take() {
            Some(mut prefetch) if prefetch.from == from => {
                let read = (&mut prefetch.reading).await;
                read.map_err(|stopped| {
                    BatchError::Failed(StoreError::unavailable("reading events", stopped))
                })??
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

    /// Waits for something to project; gives where the table is, if that is still known.
    async fn wait_for_events(&self, from: ProjectionCheckpoint) -> Option<ProjectionCheckpoint> {
        let mut updates = self.projection.context.events.watch_progress();
        let news = updates.wait_for(|progress| {
            let known = progress.checkpoints.get(&self.projection.table.name);
            progress.head > from.position || known.is_some_and(|known| *known > from)
        });
        // Nothing was heard: it is looked up anew, in case somebody else has moved it.
        tokio::time::timeout(POLL, news).await.is_ok().then_some(from)
    }

    /// Halted until the checkpoint moves by another hand, such as a node that knows the event, or has its master key; or until it is time to
    /// look whether it can be passed now.
    async fn halt(&self, after: ProjectionCheckpoint, reason: String) {
        let table = &*self.projection.table.name;
        if self.show(VersionHealth::Halted(reason.clone()), Some(after)) {
            tracing::error!(table, position = after.position.get(), %reason, "the projection has halted");
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

    /// Says how it is doing; whether that is news.
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
