//! Projects events into one table: read a batch, fold it, write rows and projection checkpoint in one
//! transaction.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use store::{
    Corruption, Envelope, EventQuery, PersonalData, Position, ProjectionCheckpoint, ProjectionVersion, Row,
    RowChange, StoreError, StoredEvent, Table, WriteError,
};

use crate::context::ProjectionContext;
use crate::parallel_fold::{self, FoldResult, FoldTask, FoldedRows};
use crate::projection::Projection;
use crate::skipped_events;

/// The batch size of catching up outside a projector.
pub(crate) const BATCH: usize = 500;
/// The delay after another projector moved the checkpoint first.
const CONFLICT_RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(20);

/// A projection and the table it is folded into.
#[derive(Clone)]
pub(crate) struct TableProjection {
    pub(crate) projection: &'static dyn Projection,
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
        Some(Self { projection, table: projection.table(version.number), context: context.clone() })
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
        let wanted =
            EventQuery { after: from.position, until: Some(until), limit: BATCH, ..EventQuery::default() };
        let events = self.read(from, &wanted, until).await?;
        self.project(from, events).await
    }

    /// Reads the events of a query. The log is known to reach `head`: finding none before it is damage, and
    /// waiting would never end.
    pub(crate) async fn read(
        &self,
        from: ProjectionCheckpoint,
        query: &EventQuery,
        head: Position,
    ) -> Result<ProjectionBatch, BatchError> {
        self.read_matching(from, query, head, &|_| true).await
    }

    /// Reads only events for rows with matching keys; the others are not decrypted.
    pub(crate) async fn read_matching(
        &self,
        from: ProjectionCheckpoint,
        query: &EventQuery,
        head: Position,
        wanted: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<ProjectionBatch, BatchError> {
        let failed = |error| batch_error(from, error);
        let events = self.context.events.read_sealed(query).await.map_err(failed)?;
        let oldest = events.first().map(|event| event.at);
        let Some(last) = events.last().map(|event| event.position) else {
            if head > query.after {
                let position = query.after.next();
                let missing = Corruption::MissingEvents { first: position, last: position };
                return Err(batch_error(from, missing.into()));
            }
            return Ok(ProjectionBatch { to: query.after, events: Vec::new(), oldest });
        };
        let mine = |event: &Envelope| self.projection.key(event).is_some_and(|key| wanted(&key));
        let mine: Vec<_> = events.into_iter().filter(mine).collect();
        let events = if self.projection.reads_personal() {
            self.context.events.unseal(mine).await.map_err(failed)?
        } else {
            mine.into_iter().map(without_personal_data).collect()
        };
        Ok(ProjectionBatch { to: last, events, oldest })
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
        batch: ProjectionBatch,
    ) -> Result<ProjectionCheckpoint, BatchError> {
        if batch.to == from.position {
            return Ok(from);
        }
        // Some databases recreate a dropped table with the first row. It would look complete.
        if self.context.events.progress().dropped.contains(&self.table.name) {
            return Err(batch_error(from, StoreError::table_dropped(&self.table.name)));
        }
        let before = self.load_rows(&batch.events).await.map_err(|error| batch_error(from, error))?;
        let (task, FoldResult { folded, digest, poison }) =
            self.fold(before, batch.events).await.map_err(|error| batch_error(from, error))?;
        // Events before a poison event are applied.
        let to = poison.as_ref().map_or(batch.to, |poison| poison.position.previous());
        let moved = ProjectionCheckpoint { position: to, digest: from.digest.and(digest), ..from };
        if to > from.position {
            self.apply(from, moved, &task.before, folded).await?;
        }
        match poison {
            None => Ok(moved),
            Some(poison) => Err(batch_error(moved, poison.into())),
        }
    }

    async fn apply(
        &self,
        from: ProjectionCheckpoint,
        to: ProjectionCheckpoint,
        before: &HashMap<String, Row>,
        folded: FoldedRows,
    ) -> Result<(), BatchError> {
        let change = |(key, row)| RowChange { existed: before.contains_key(&key), key, row };
        let changes = folded.into_iter().map(change).filter(|change| change.existed || change.row.is_some());
        let applied = self.context.rows.apply(&self.table, from, to, changes.collect()).await;
        applied.map_err(|error| match error {
            WriteError::Conflict => BatchError::Failed(error),
            WriteError::Store(error) => batch_error(from, error),
        })
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
        events: Vec<StoredEvent>,
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

/// Events that concern the projection, and the position up to which the log was read for them.
#[derive(Debug)]
pub(crate) struct ProjectionBatch {
    pub(crate) to: Position,
    pub(crate) events: Vec<StoredEvent>,
    /// When the first event read was appended.
    pub(crate) oldest: Option<Timestamp>,
}

fn without_personal_data(envelope: Envelope) -> StoredEvent {
    StoredEvent { envelope, personal: PersonalData::Erased }
}
