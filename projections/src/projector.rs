//! The projector of one version that runs by itself: it is being built, is behind, or has halted. A version that
//! is read or kept joins the [`lane`](crate::lane) once it has caught up.
//!
//! Applying is idempotent: rows and projection checkpoint move together by compare-and-set, so that several
//! projectors at work on one table do no harm. A projector never skips an event on its own; at a poison event
//! it halts.

use std::time::Duration;

use store::{ProjectionCheckpoint, VersionStage, WriteError};

use crate::background_write::{BackgroundWrite, WrittenBatch};
use crate::cutover::try_promote;
use crate::event_reader::EventReader;
use crate::lane::LaneEntrance;
use crate::report::VersionHealth;
use crate::status::{RetryDelay, SharedStatus};
use crate::table_projection::{BatchError, TableChange, TableProjection, batch_error, retryable};

/// How often to look for events even without a notification, in case one was lost.
pub(crate) const POLL: Duration = Duration::from_secs(1);
/// After a conflict, how long the checkpoint must be idle before this projector tries again.
const YIELD_UNTIL_IDLE: Duration = Duration::from_millis(200);

/// Applies events to one version.
pub(crate) struct Projector {
    projection: TableProjection,
    status: SharedStatus,
    reader: EventReader,
    /// The batch before, which is still being written.
    writing: Option<BackgroundWrite>,
    lane: LaneEntrance,
}

/// The result of one batch.
enum Progress {
    /// Rows and checkpoint moved, or are about to; more events are waiting.
    Moved(ProjectionCheckpoint),
    /// Every event is applied, but for those of the last moments.
    Current(ProjectionCheckpoint),
}

impl Projector {
    pub(crate) fn new(projection: TableProjection, status: SharedStatus, lane: LaneEntrance) -> Self {
        let reader = EventReader::new(projection.context.clone());
        Self { projection, status, reader, writing: None, lane }
    }

    /// Projects without end. Whenever the version has caught up, it joins the lane if it is ready, or attempts
    /// its cutover if it is being built.
    pub(crate) async fn run(mut self) {
        let mut retry = RetryDelay::default();
        let mut at = None;
        loop {
            let stopped = match self.project_next_batch(at).await {
                Ok(Progress::Moved(moved)) => {
                    at = Some(moved);
                    retry.reset();
                    continue;
                }
                Ok(Progress::Current(reached)) => {
                    self.show(VersionHealth::Running, Some(reached));
                    match try_promote(&self.projection, reached).await {
                        Ok(reached) => {
                            at = self.join_lane_or_wait(reached).await;
                            retry.reset();
                            continue;
                        }
                        Err(stopped) => stopped,
                    }
                }
                Err(stopped) => stopped,
            };
            at = None;
            self.reader.reset();
            self.writing = None;
            match stopped {
                BatchError::Failed(WriteError::Conflict) => self.yield_to_other_projector().await,
                BatchError::Failed(WriteError::Store(error)) => {
                    let delay = retry.next();
                    tracing::warn!(table = &*self.projection.table.name, %error, "projection failed; retrying in {delay:?}");
                    self.show(VersionHealth::Failing(error.to_string()), None);
                    tokio::time::sleep(delay).await;
                }
                BatchError::Locked { after, error } | BatchError::Poisoned { after, error } => {
                    self.halt(after, error.to_string()).await;
                }
            }
        }
    }

    /// Projects one batch, if there is one: folds it while the one before is written and the one after is read.
    async fn project_next_batch(&mut self, at: Option<ProjectionCheckpoint>) -> Result<Progress, BatchError> {
        let from = match at {
            Some(known) => known,
            None => self.projection.checkpoint().await.map_err(retryable)?,
        };
        let read = self.reader.next(from.position, &[self.projection.projection]).await;
        let batch = read.map_err(|error| batch_error(from, error))?;
        if batch.len() == 0 {
            self.finish_write().await?;
            return Ok(Progress::Current(from));
        }
        let projection = self.projection.projection;
        if self.writing.as_ref().is_some_and(|writing| writing.blocks(&batch, projection)) {
            self.finish_write().await?;
        }
        let change = self.projection.signed_change(from, &batch).await;
        self.finish_write().await?;
        let TableChange { write, poison } = change?;
        let (moved, is_full) = (write.to, batch.is_full);
        // Events before a poison event are applied.
        if moved.position > from.position {
            self.writing = Some(BackgroundWrite::start(&self.projection, batch, write));
        }
        if poison.is_some() || !is_full {
            self.finish_write().await?;
        }
        match poison {
            Some(poison) => Err(batch_error(moved, poison.into())),
            None if is_full || !self.is_ready() => Ok(Progress::Moved(moved)),
            None => Ok(Progress::Current(moved)),
        }
    }

    /// Waits for the batch that is being written.
    async fn finish_write(&mut self) -> Result<(), BatchError> {
        if let Some(writing) = self.writing.take() {
            let WrittenBatch { batch, to, took } = writing.finish().await?;
            self.reader.record(&batch, took);
            self.show(VersionHealth::Running, Some(to));
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.projection.stage() == Some(VersionStage::Ready)
    }

    /// Runs in the lane until the version has to leave it; waits for events if it must not join. Returns the
    /// checkpoint of the table, if it is still known.
    async fn join_lane_or_wait(&self, at: ProjectionCheckpoint) -> Option<ProjectionCheckpoint> {
        if self.is_ready() && self.lane.join(self.projection.clone(), at, self.status.clone()).await.is_ok() {
            return None;
        }
        self.wait_for_events(at).await
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
        self.recreate_dropped_table().await;
    }

    /// A table that was dropped from outside is created again and filled from the start.
    async fn recreate_dropped_table(&self) {
        let TableProjection { table, context, .. } = &self.projection;
        if !context.events.progress().dropped.contains(&table.name) {
            return;
        }
        let stage = self.projection.stage().unwrap_or(VersionStage::Building);
        if let Err(error) = context.prepare(table, stage).await {
            tracing::debug!(table = &*table.name, %error, "dropped table not created");
        }
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

    /// Publishes the status; returns whether the health changed.
    fn show(&self, health: VersionHealth, at: Option<ProjectionCheckpoint>) -> bool {
        self.status.show(health, at, self.reader.rate())
    }
}
