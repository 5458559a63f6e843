//! From events to rows of one table: read, fold, and write rows and checkpoint together, or not at all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use store::{
    ApplyError, Change, Checkpoint, Envelope, EventQuery, PersonalData, Position, Recorded, Row, StoreError,
    Table, Version,
};

use crate::projection::Projection;
use crate::shards::{self, Folded, Outcome, Task};
use crate::skips;
use crate::sources::Sources;

/// How many events whoever is in no hurry reads at once.
pub(crate) const BATCH: usize = 500;
/// The pause after somebody else was quicker.
const OVERTAKEN: std::time::Duration = std::time::Duration::from_millis(20);

/// One projection and the table it is folded into.
#[derive(Clone)]
pub(crate) struct Folding {
    pub(crate) projection: &'static dyn Projection,
    pub(crate) table: Table,
    pub(crate) sources: Sources,
}

/// Why a batch was not projected.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Somebody else has moved the checkpoint.
    Overtaken,
    /// The database could not do it; trying again may help.
    Failed(StoreError),
    /// An event cannot be opened here: the master key was not given to this process. Another one may have it.
    Locked {
        /// How far the rows are.
        after: Checkpoint,
        /// Which master key.
        error: StoreError,
    },
    /// An event cannot be taken in, or the log is damaged: trying again will not help.
    Poisoned {
        /// How far the rows are.
        after: Checkpoint,
        /// What is wrong.
        reason: String,
    },
}

/// Only damage needs a person; a database that refuses to answer, for whatever reason, may answer again.
pub(crate) fn stop(after: Checkpoint, error: StoreError) -> Stop {
    match error {
        StoreError::Corrupt(_) => Stop::Poisoned { after, reason: error.to_string() },
        StoreError::KeyMissing(_) => Stop::Locked { after, error },
        StoreError::Unavailable { .. } | StoreError::Refused(_) => Stop::Failed(error),
    }
}

impl Folding {
    /// Of a version, by the fold that makes its rows; `None` if that is not in this program.
    pub(crate) fn of(
        projection: &'static dyn Projection,
        version: &Version,
        sources: &Sources,
    ) -> Option<Self> {
        let projection = projection.fold_of(version.fold)?;
        Some(Self { projection, table: projection.table(version.number), sources: sources.clone() })
    }

    /// How far the table is.
    pub(crate) async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.sources.rows.checkpoint(&self.table).await
    }

    /// Projects what there is up to the present head, then says how far it came.
    pub(crate) async fn catch_up(&self) -> Result<Position, StoreError> {
        let head = self.sources.events.head().await?.position;
        let mut at = self.checkpoint().await?;
        while at.position < head {
            match self.advance(at, head).await {
                Ok(moved) => at = moved,
                Err(Stop::Overtaken) => {
                    tokio::time::sleep(OVERTAKEN).await;
                    at = self.checkpoint().await?;
                }
                Err(Stop::Failed(error) | Stop::Locked { error, .. }) => return Err(error),
                Err(Stop::Poisoned { reason, .. }) => return Err(StoreError::corrupt(reason)),
            }
        }
        Ok(at.position)
    }

    /// Projects the events after `from` up to `until`, at most one batch; gives the checkpoint after it.
    pub(crate) async fn advance(&self, from: Checkpoint, until: Position) -> Result<Checkpoint, Stop> {
        let wanted =
            EventQuery { after: from.position, until: Some(until), limit: BATCH, ..EventQuery::default() };
        let events = self.read(from, &wanted, until).await?;
        self.project(from, events).await
    }

    /// The events that a query gives. The log is known to go up to `head`: were nothing found before that, waiting for
    /// it would be waiting forever.
    pub(crate) async fn read(
        &self,
        from: Checkpoint,
        query: &EventQuery,
        head: Position,
    ) -> Result<Batch, Stop> {
        self.read_some(from, query, head, &|_| true).await
    }

    /// The same, but of these keys alone: what goes into other rows is not even unsealed.
    pub(crate) async fn read_some(
        &self,
        from: Checkpoint,
        query: &EventQuery,
        head: Position,
        wanted: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<Batch, Stop> {
        let failed = |error| stop(from, error);
        let events = self.sources.events.read_sealed(query).await.map_err(failed)?;
        let oldest = events.first().map(|event| event.at);
        let Some(last) = events.last().map(|event| event.position) else {
            if head > query.after {
                let position = query.after.next();
                let reason =
                    format!("position {position} is missing from the log, though the head is at {head}");
                return Err(Stop::Poisoned { after: from, reason });
            }
            return Ok(Batch { to: query.after, events: Vec::new(), oldest });
        };
        let mine = |event: &Envelope| self.projection.key(event).is_some_and(|key| wanted(&key));
        let mine: Vec<_> = events.into_iter().filter(mine).collect();
        let events = if self.projection.reads_personal() {
            self.sources.events.unseal(mine).await.map_err(failed)?
        } else {
            mine.into_iter().map(impersonal).collect()
        };
        Ok(Batch { to: last, events, oldest })
    }

    /// Folds a batch and writes the rows; gives the checkpoint after it.
    pub(crate) async fn project(&self, from: Checkpoint, batch: Batch) -> Result<Checkpoint, Stop> {
        if batch.to == from.position {
            return Ok(from);
        }
        // Some databases make a table that is gone anew with the first row. It would look whole.
        if self.sources.events.signal().gone.contains(&self.table.name) {
            return Err(stop(from, StoreError::gone(&self.table.name)));
        }
        let before = self.rows_before(&batch.events).await.map_err(|error| stop(from, error))?;
        let (task, Outcome { folded, digest, poison }) =
            self.fold(before, batch.events).await.map_err(|error| stop(from, error))?;
        // What comes before a poison event is good and is kept.
        let to = poison.as_ref().map_or(batch.to, |poison| poison.position.previous());
        let moved = Checkpoint { position: to, digest: from.digest.and(digest), ..from };
        if to > from.position {
            self.apply(from, moved, &task.before, folded).await?;
        }
        match poison {
            None => Ok(moved),
            Some(poison) => Err(Stop::Poisoned { after: moved, reason: poison.to_string() }),
        }
    }

    async fn apply(
        &self,
        from: Checkpoint,
        to: Checkpoint,
        before: &HashMap<String, Row>,
        folded: Folded,
    ) -> Result<(), Stop> {
        let change = |(key, row)| Change { known: before.contains_key(&key), key, row };
        let changes = folded.into_iter().map(change).filter(|change| change.known || change.row.is_some());
        let applied = self.sources.rows.apply(&self.table, from, to, changes.collect()).await;
        applied.map_err(|error| match error {
            ApplyError::Overtaken => Stop::Overtaken,
            ApplyError::Store(error) => stop(from, error),
        })
    }

    async fn rows_before(&self, events: &[Recorded]) -> Result<HashMap<String, Row>, StoreError> {
        let known = events.iter().filter(|event| !self.projection.opens(&event.envelope));
        let mut keys: Vec<_> = known.filter_map(|event| self.projection.key(&event.envelope)).collect();
        keys.sort_unstable();
        keys.dedup();
        self.sources.rows.rows(&self.table, &keys).await
    }

    /// The rows after these events, up to the first that cannot be taken in and that nobody has decided to skip.
    async fn fold(
        &self,
        before: HashMap<String, Row>,
        events: Vec<Recorded>,
    ) -> Result<(Arc<Task>, Outcome), StoreError> {
        let mut task =
            Arc::new(Task { projection: self.projection, events, before, skipped: BTreeSet::new() });
        let mut outcome = shards::fold(&task).await?;
        if let Some(poison) = &outcome.poison {
            let projection = self.projection.name();
            let skipped = skips::skipped(&self.sources.events, projection).await?;
            if skipped.contains(&poison.position) {
                let position = poison.position.get();
                tracing::warn!(projection, position, "an event is passed over, as an operator has decided");
                if let Some(task) = Arc::get_mut(&mut task) {
                    task.skipped = skipped;
                }
                outcome = shards::fold(&task).await?;
            }
        }
        Ok((task, outcome))
    }
}

/// Events that were read, and how far the log was read for them: also what does not concern the projection counts.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) to: Position,
    pub(crate) events: Vec<Recorded>,
    /// When the first event that was read happened.
    pub(crate) oldest: Option<Timestamp>,
}

fn impersonal(envelope: Envelope) -> Recorded {
    Recorded { envelope, personal: PersonalData::Erased }
}
