//! The lane: all versions that have caught up share one reader, one decryption and one transaction per batch,
//! which writes the rows of all tables and moves all checkpoints.
//!
//! A version joins once it has caught up by itself, and leaves when an event halts it, its checkpoint was moved
//! by another process, or its task ends; the others go on. What left runs by itself
//! ([`projector`](crate::projector)) and joins again.

use std::future::pending;

use futures::future::join_all;
use store::{Position, ProjectionCheckpoint, StoreProgress, WriteError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::context::ProjectionContext;
use crate::event_reader::{EventBatch, EventReader};
use crate::report::VersionHealth;
use crate::status::{RetryDelay, SharedStatus};
use crate::table_projection::{BatchError, TableChange, TableProjection, batch_error, write_tables};

/// How many batches a version may be behind when it joins: the lane waits for it.
const MAX_CATCH_UP_BATCHES: usize = 4;
/// How many events the lane may be behind a version that waits for it.
const MAX_BEHIND: u64 = 2_000;
/// How often in a row the database may fail before the members go on by themselves.
const MAX_SHARED_FAILURES: u32 = 1;

/// Applies events to all its members at once.
pub(crate) struct Lane {
    context: ProjectionContext,
    joining: mpsc::UnboundedReceiver<Member>,
    /// Versions that are ahead of the lane, until it has reached them.
    ahead: Vec<Member>,
    /// All at one position.
    members: Vec<Member>,
    reader: EventReader,
}

/// A version in the lane. Dropping it makes it leave.
struct Member {
    projection: TableProjection,
    at: ProjectionCheckpoint,
    status: SharedStatus,
    /// A later checkpoint that this process knew of when the version joined: the table was restored.
    stale: Option<ProjectionCheckpoint>,
    /// Closed once the task of the version no longer waits.
    left: oneshot::Sender<()>,
}

/// Where versions join the lane.
#[derive(Clone)]
pub(crate) struct LaneEntrance(mpsc::UnboundedSender<Member>);

/// The lane has ended.
#[derive(Debug)]
pub(crate) struct LaneClosed;

impl LaneEntrance {
    /// Hands a table over to the lane; returns when it has left the lane.
    pub(crate) async fn join(
        &self,
        projection: TableProjection,
        at: ProjectionCheckpoint,
        status: SharedStatus,
    ) -> Result<(), LaneClosed> {
        let (left, has_left) = oneshot::channel();
        let progress = projection.context.events.progress();
        let stale = progress.checkpoints.get(&projection.table.name).copied().filter(|known| *known > at);
        self.0.send(Member { projection, at, status, stale, left }).map_err(|_| LaneClosed)?;
        // The sender is dropped, not used.
        drop(has_left.await);
        Ok(())
    }
}

impl Lane {
    pub(crate) fn new(context: ProjectionContext) -> (Self, LaneEntrance) {
        let (entrance, joining) = mpsc::unbounded_channel();
        let reader = EventReader::new(context.clone());
        (Self { context, joining, ahead: Vec::new(), members: Vec::new(), reader }, LaneEntrance(entrance))
    }

    /// Projects without end.
    pub(crate) async fn run(mut self) {
        let mut retry = RetryDelay::default();
        loop {
            self.admit().await;
            match self.project_next_batch().await {
                Ok(true) if !self.has_reached_known_head() => retry.reset(),
                Ok(_) => {
                    retry.reset();
                    if !self.wait_for_events().await {
                        self.check_checkpoints().await;
                    }
                }
                Err(BatchError::Failed(WriteError::Store(error))) => {
                    let delay = retry.next();
                    tracing::warn!(%error, "projecting the current read models failed; retrying in {delay:?}");
                    self.show(&VersionHealth::Failing(error.to_string()));
                    self.reader.reset();
                    if retry.failures() > MAX_SHARED_FAILURES {
                        // If it is one table that fails, the others join again without it.
                        self.members.clear();
                        retry.reset();
                    }
                    sleep(delay).await;
                }
                // Which member it concerns is not known: each finds out by itself, and the others join again.
                Err(
                    BatchError::Failed(WriteError::Conflict)
                    | BatchError::Locked { .. }
                    | BatchError::Poisoned { .. },
                ) => {
                    self.members.clear();
                    self.reader.reset();
                }
            }
        }
    }

    /// The position of all members.
    fn position(&self) -> Option<Position> {
        self.members.first().map(|member| member.at.position)
    }

    /// Lets members leave whose stored checkpoint is another one, of which no notification came: that of a table
    /// that was restored or emptied by hand.
    async fn check_checkpoints(&mut self) {
        let stored = join_all(self.members.iter().map(|member| member.projection.checkpoint())).await;
        let mut is_as_known = self
            .members
            .iter()
            .zip(stored)
            .map(|(member, stored)| {
                // An unreachable database changes nothing.
                stored.map_or(true, |stored| stored == member.at)
            })
            .collect::<Vec<_>>()
            .into_iter();
        let before = self.members.len();
        self.members.retain(|_| is_as_known.next().unwrap_or_default());
        if self.members.len() != before {
            self.reader.reset();
        }
    }

    /// Whether another read would find nothing, as far as this process knows.
    fn has_reached_known_head(&self) -> bool {
        self.position().is_some_and(|position| self.context.events.progress().head <= position)
    }

    /// Lets versions join and leave. Waits for one if there is none.
    async fn admit(&mut self) {
        let progress = self.context.events.progress();
        let before = self.members.len();
        self.members.retain(|member| !member.left.is_closed() && !member.is_moved(&progress));
        self.ahead.retain(|member| !member.left.is_closed());
        let mut has_changed = self.members.len() != before;
        if self.members.is_empty() && self.ahead.is_empty() {
            match self.joining.recv().await {
                Some(member) => self.ahead.push(member),
                // The supervisor is gone, which ends this task as well.
                None => pending().await,
            }
        }
        while let Ok(member) = self.joining.try_recv() {
            self.ahead.push(member);
        }
        self.ahead.sort_by_key(|member| member.at.position);
        let next = self.ahead.first().map(|member| member.at.position);
        if let (Some(position), Some(next)) = (self.position(), next)
            && next.get() > position.get() + MAX_BEHIND
        {
            // A version far behind must not hold up those that wait for it.
            self.members.clear();
            has_changed = true;
        }
        let Some(position) = self.position().or(next) else { return };
        let split = self.ahead.partition_point(|member| member.at.position <= position);
        for member in self.ahead.drain(..split).collect::<Vec<_>>() {
            if let Some(member) = member.catch_up(position).await {
                tracing::debug!(table = &*member.projection.table.name, %position, "version joins the lane");
                self.members.push(member);
                has_changed = true;
            }
        }
        if has_changed {
            self.reader.reset();
        }
    }

    /// Projects one batch for all members; `false` if there was none.
    async fn project_next_batch(&mut self) -> Result<bool, BatchError> {
        let Some(first) = self.members.first() else { return Ok(true) };
        let from = first.at;
        let projections: Vec<_> = self.members.iter().map(|member| member.projection.projection).collect();
        let read = self.reader.next(from.position, &projections).await;
        let batch = read.map_err(|error| batch_error(from, error))?;
        if batch.len() == 0 {
            self.show(&VersionHealth::Running);
            return Ok(false);
        }
        let begun = Instant::now();
        self.apply(from, &batch).await?;
        self.reader.record(&batch, begun.elapsed());
        self.show(&VersionHealth::Running);
        Ok(true)
    }

    /// Folds a batch for each member and writes all tables in one transaction. A member that halts leaves
    /// before.
    #[tracing::instrument(
        name = "projection_batch",
        skip_all,
        fields(tables = self.members.len(), from = from.position.get(), to = batch.to.get())
    )]
    async fn apply(&mut self, from: ProjectionCheckpoint, batch: &EventBatch) -> Result<(), BatchError> {
        let changes = self.members.iter().map(|member| member.projection.change(member.at, batch));
        let (mut writes, mut halted) = (Vec::new(), Vec::new());
        for change in join_all(changes).await {
            let is_halted = match change {
                Ok(TableChange { write, poison: None }) => {
                    writes.push(write);
                    false
                }
                Ok(TableChange { poison: Some(_), .. })
                | Err(BatchError::Locked { .. } | BatchError::Poisoned { .. }) => true,
                Err(error @ BatchError::Failed(_)) => return Err(error),
            };
            halted.push(is_halted);
        }
        if halted.contains(&true) {
            let mut halted = halted.into_iter();
            self.members.retain(|_| !halted.next().unwrap_or_default());
            self.reader.reset();
        }
        let reached: Vec<_> = writes.iter().map(|write| write.to).collect();
        if !writes.is_empty() {
            write_tables(&self.context, from, writes).await?;
        }
        for (member, at) in self.members.iter_mut().zip(reached) {
            member.at = at;
        }
        Ok(())
    }

    /// Waits until there are events, a version joins, or a checkpoint was moved by another process; `false` if
    /// none of these happened in time.
    async fn wait_for_events(&mut self) -> bool {
        let Some(position) = self.position() else { return true };
        let (mut updates, interval) = (self.context.events.watch_progress(), self.context.poll_interval());
        let members = &self.members;
        let news = updates.wait_for(|progress| {
            progress.head > position || members.iter().any(|member| member.is_moved(progress))
        });
        tokio::select! {
            news = timeout(interval, news) => news.is_ok(),
            Some(member) = self.joining.recv() => {
                self.ahead.push(member);
                true
            }
        }
    }

    fn show(&self, health: &VersionHealth) {
        let rate = self.reader.rate();
        for member in &self.members {
            member.status.show(health.clone(), Some(member.at), rate);
        }
    }
}

impl Member {
    /// Whether another process has moved the checkpoint.
    fn is_moved(&self, progress: &StoreProgress) -> bool {
        let known = progress.checkpoints.get(&self.projection.table.name);
        known.is_some_and(|known| *known > self.at && self.stale != Some(*known))
    }

    /// Brings the table to the position of the lane; `None` if it is too far behind, or halts: it goes on by
    /// itself.
    async fn catch_up(mut self, position: Position) -> Option<Self> {
        for _ in 0..MAX_CATCH_UP_BATCHES {
            if self.at.position >= position {
                return Some(self);
            }
            self.at = self.projection.advance(self.at, position).await.ok()?;
        }
        (self.at.position >= position).then_some(self)
    }
}
