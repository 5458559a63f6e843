//! Projects a batch of events into one table: loads the rows that it changes, folds it, and gives the rows and
//! the projection checkpoint to write in one transaction. Reading events belongs to `event_reader`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use store::{
    EventQuery, Position, ProjectionCheckpoint, ProjectionVersion, Row, RowChange, StoreError, StoredEvent,
    Table, TableWrite, VersionStage, WriteError,
};

use crate::context::ProjectionContext;
use crate::event_reader::{EventBatch, read_events};
use crate::parallel_fold::{self, FoldResult, FoldTask, FoldedRow};
use crate::projection::{PoisonEvent, Projection};
use crate::skipped_events;

/// The batch size of catching up outside a projector.
pub(crate) const BATCH: usize = 500;
/// The delay after another projector moved the checkpoint first.
const CONFLICT_RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(20);

/// A projection and the table it is folded into.
#[derive(Clone)]
pub(crate) struct TableProjection {
    pub(crate) projection: &'static dyn Projection,
    /// The number of the version.
    pub(crate) number: u64,
    pub(crate) table: Table,
    pub(crate) context: ProjectionContext,
}

/// Why a batch was not projected.
#[derive(Debug)]
pub(crate) enum BatchError {
    /// Another projector has moved the checkpoint (optimistic concurrency), or the database failed. A retry may
    /// help.
    Failed(WriteError),
    /// An event cannot be decrypted: this process lacks the master key. Another node may have it.
    Locked {
        /// The checkpoint of the table.
        after: ProjectionCheckpoint,
        /// Names the master key.
        error: StoreError,
    },
    /// An event cannot be projected, or the log is damaged: a retry will not help.
    Poisoned {
        /// The checkpoint of the table.
        after: ProjectionCheckpoint,
        /// The problem.
        error: StoreError,
    },
}

/// Only damage needs an operator; a database that fails to answer may answer again.
pub(crate) fn batch_error(after: ProjectionCheckpoint, error: StoreError) -> BatchError {
    match error {
        StoreError::Corrupt(_) | StoreError::Internal(_) => BatchError::Poisoned { after, error },
        StoreError::KeyMissing(_) => BatchError::Locked { after, error },
        StoreError::Unavailable { .. } | StoreError::Refused(_) => retryable(error),
    }
}

/// The database failed, in whatever way; a retry may help.
pub(crate) fn retryable(error: StoreError) -> BatchError {
    BatchError::Failed(error.into())
}

impl TableProjection {
    /// For a version of a read model; `None` if its projection version is not part of this release.
    pub(crate) fn of(
        projection: &'static dyn Projection,
        version: &ProjectionVersion,
        context: &ProjectionContext,
    ) -> Option<Self> {
        let projection = projection.with_version(version.fold)?;
        let (number, context) = (version.number, context.clone());
        Some(Self { projection, number, table: projection.table(number), context })
    }

    /// The stage of the version, as known to this process.
    pub(crate) fn stage(&self) -> Option<VersionStage> {
        let progress = self.context.events.progress();
        let versions = progress.versions.get(self.projection.name())?;
        versions.get(self.number).map(|version| version.stage)
    }

    /// The projection checkpoint of the table.
    pub(crate) async fn checkpoint(&self) -> Result<ProjectionCheckpoint, StoreError> {
        self.context.rows.checkpoint(&self.table).await
    }

    /// Projects up to the current head; returns the position reached.
    pub(crate) async fn catch_up(&self) -> Result<Position, StoreError> {
        let head = self.context.events.head().await?.position;
        let mut at = self.checkpoint().await?;
        while at.position < head {
            match self.advance(at, head).await {
                Ok(moved) => at = moved,
                Err(BatchError::Failed(WriteError::Conflict)) => {
                    tokio::time::sleep(CONFLICT_RETRY_DELAY).await;
                    at = self.checkpoint().await?;
                }
                Err(
                    BatchError::Failed(WriteError::Store(error))
                    | BatchError::Locked { error, .. }
                    | BatchError::Poisoned { error, .. },
                ) => return Err(error),
            }
        }
        Ok(at.position)
    }

    /// Projects the events after `from` up to `until`, at most one batch; returns the new checkpoint.
    pub(crate) async fn advance(
        &self,
        from: ProjectionCheckpoint,
        until: Position,
    ) -> Result<ProjectionCheckpoint, BatchError> {
        let query =
            EventQuery { after: from.position, until: Some(until), limit: BATCH, ..EventQuery::default() };
        let batch = read_events(&self.context, &query, until, &[self.projection], &|_| true).await;
        self.project(from, &batch.map_err(|error| batch_error(from, error))?).await
    }

    /// Folds a batch and writes the rows; returns the new checkpoint.
    #[tracing::instrument(
        name = "projection_batch",
        skip_all,
        fields(table = &*self.table.name, from = from.position.get(), to = batch.to.get())
    )]
    pub(crate) async fn project(
        &self,
        from: ProjectionCheckpoint,
        batch: &EventBatch,
    ) -> Result<ProjectionCheckpoint, BatchError> {
        if batch.to == from.position {
            return Ok(from);
        }
        let TableChange { write, poison } = self.change(from, batch).await?;
        let moved = write.to;
        // Events before a poison event are applied.
        if moved.position > from.position {
            write_tables(&self.context, from, vec![write]).await?;
        }
        match poison {
            None => Ok(moved),
            Some(poison) => Err(batch_error(moved, poison.into())),
        }
    }

    /// What a batch changes in the table.
    pub(crate) async fn change(
        &self,
        from: ProjectionCheckpoint,
        batch: &EventBatch,
    ) -> Result<TableChange, BatchError> {
        // Some databases recreate a dropped table with the first row. It would look complete.
        if self.context.events.progress().dropped.contains(&self.table.name) {
            return Err(batch_error(from, StoreError::table_dropped(&self.table.name)));
        }
        let events = batch.events_for(self.projection);
        let before = self.load_rows(&events).await.map_err(|error| batch_error(from, error))?;
        let (task, FoldResult { folded, digest, poison }) =
            self.fold(before, events).await.map_err(|error| batch_error(from, error))?;
        let position = poison.as_ref().map_or(batch.to, |poison| poison.position.previous());
        let to = ProjectionCheckpoint { position, digest: from.digest.and(digest), ..from };
        let change = |FoldedRow { key, row, digest }| {
            let existed = task.before.contains_key(&key);
            RowChange { key, row, digest, existed }
        };
        let changes = folded.into_iter().map(change).filter(|change| change.existed || change.row.is_some());
        let write = TableWrite { table: self.table.clone(), from, to, changes: changes.collect() };
        Ok(TableChange { write, poison })
    }

    /// As [`TableProjection::change`], with the codes of row authentication, so that the write takes less time.
    pub(crate) async fn signed_change(
        &self,
        from: ProjectionCheckpoint,
        batch: &EventBatch,
    ) -> Result<TableChange, BatchError> {
        let TableChange { write, poison } = self.change(from, batch).await?;
        Ok(TableChange { write: self.context.rows.sign_rows(write).await, poison })
    }

    async fn load_rows(&self, events: &[StoredEvent]) -> Result<HashMap<String, Row>, StoreError> {
        let known = events.iter().filter(|event| !self.projection.creates_row(&event.envelope));
        let mut keys: Vec<_> = known.filter_map(|event| self.projection.key(&event.envelope)).collect();
        keys.sort_unstable();
        keys.dedup();
        self.context.rows.rows(&self.table, &keys).await
    }

    /// The rows after these events, up to the first poison event that no operator has decided to skip.
    async fn fold(
        &self,
        before: HashMap<String, Row>,
        events: Arc<Vec<StoredEvent>>,
    ) -> Result<(Arc<FoldTask>, FoldResult), StoreError> {
        let mut task =
            Arc::new(FoldTask { projection: self.projection, events, before, skipped: BTreeSet::new() });
        let mut outcome = parallel_fold::fold(&task).await?;
        if let Some(poison) = &outcome.poison {
            let projection = self.projection.name();
            let skipped = skipped_events::load(&self.context.events, projection).await?;
            if skipped.contains(&poison.position) {
                let position = poison.position.get();
                tracing::warn!(projection, position, "event skipped by an operator decision");
                if let Some(task) = Arc::get_mut(&mut task) {
                    task.skipped = skipped;
                }
                outcome = parallel_fold::fold(&task).await?;
            }
        }
        Ok((task, outcome))
    }
}

/// What a batch changes in one table.
pub(crate) struct TableChange {
    pub(crate) write: TableWrite,
    /// The event that cannot be applied; the rows are those before it.
    pub(crate) poison: Option<PoisonEvent>,
}

/// Writes rows and checkpoints of tables that are all at the position of `from`, in one transaction.
pub(crate) async fn write_tables(
    context: &ProjectionContext,
    from: ProjectionCheckpoint,
    writes: Vec<TableWrite>,
) -> Result<(), BatchError> {
    context.rows.apply_all(writes).await.map_err(|error| match error {
        WriteError::Conflict => BatchError::Failed(error),
        WriteError::Store(error) => batch_error(from, error),
    })
}
