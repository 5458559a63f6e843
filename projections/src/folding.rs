//! From events to rows of one table: read, fold, and write rows and checkpoint together, or not at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use store::{
    ApplyError, Change, Checkpoint, EventQuery, EventStore, Position, ReadModels, Recorded, Row, StoreError,
    Table,
};

use crate::projection::{Poison, Projection};

/// Events read and rows written at once.
const BATCH: usize = 500;
/// The pause after somebody else was quicker.
const OVERTAKEN: Duration = Duration::from_millis(20);

/// One projection and the table it is folded into.
pub(crate) struct Folding {
    pub(crate) projection: &'static dyn Projection,
    pub(crate) table: &'static Table,
    pub(crate) events: EventStore,
    pub(crate) rows: Arc<dyn ReadModels>,
}

/// Why a batch was not projected.
pub(crate) enum Stop {
    /// Somebody else has moved the checkpoint.
    Overtaken,
    /// The database could not do it; trying again may help.
    Failed(StoreError),
    /// An event cannot be taken in, or the log is damaged: trying again will not help.
    Poisoned {
        /// How far the rows are.
        after: Checkpoint,
        /// What is wrong.
        reason: String,
    },
}

/// Rows by key; `None` is a row to remove.
type Folded = HashMap<String, Option<Row>>;

/// Only damage needs a person; a database that refuses to answer, for whatever reason, may answer again.
fn stop(after: Checkpoint, error: StoreError) -> Stop {
    match error {
        StoreError::Corrupt(_) => Stop::Poisoned { after, reason: error.to_string() },
        StoreError::Unavailable { .. } | StoreError::Refused(_) => Stop::Failed(error),
    }
}

fn missing(after: Checkpoint, head: Position) -> Stop {
    let position = after.position.next();
    let reason = format!("position {position} is missing from the log, though the head is at {head}");
    Stop::Poisoned { after, reason }
}

impl Folding {
    /// How far the table is.
    pub(crate) async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.rows.checkpoint(self.table).await
    }

    /// Projects what there is up to the present head, then says how far it came.
    pub(crate) async fn catch_up(
        &self,
        each_batch: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Position, StoreError> {
        let head = self.events.head().await?.position;
        let mut at = self.checkpoint().await?;
        while at.position < head {
            match self.project_batch(at, head).await {
                Ok(moved) => at = moved,
                Err(Stop::Overtaken) => {
                    tokio::time::sleep(OVERTAKEN).await;
                    at = self.checkpoint().await?;
                }
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Poisoned { reason, .. }) => return Err(StoreError::corrupt(reason)),
            }
            each_batch(at.position, head);
        }
        Ok(at.position)
    }

    /// Projects the events after `from`, at most one batch; gives the checkpoint after it. The log is known to go up to
    /// `head`: were nothing found before that, waiting for it would be waiting forever.
    pub(crate) async fn project_batch(&self, from: Checkpoint, head: Position) -> Result<Checkpoint, Stop> {
        // Some databases make a table that is gone anew with the first row. It would look whole.
        if self.events.signal().gone.contains(self.table.name) {
            return Err(stop(from, StoreError::gone(self.table.name)));
        }
        let query = EventQuery { after: from.position, limit: BATCH, ..EventQuery::default() };
        let events = self.events.read(&query).await.map_err(|error| stop(from, error))?;
        if events.is_empty() {
            return if head > from.position { Err(missing(from, head)) } else { Ok(from) };
        }
        let (folded, poison) = self.fold(&events).await.map_err(|error| stop(from, error))?;
        // What comes before a poison event is good and is kept.
        let good = poison.as_ref().map_or(events.len(), |(index, _)| *index);
        let moved = match events.get(..good).and_then(<[Recorded]>::last) {
            Some(last) => {
                let to = last.envelope.position;
                self.apply(from, to, folded).await?;
                Checkpoint { position: to, ..from }
            }
            None => from,
        };
        match poison {
            None => Ok(moved),
            Some((_, poison)) => Err(Stop::Poisoned { after: moved, reason: poison.to_string() }),
        }
    }

    async fn apply(&self, from: Checkpoint, to: Position, folded: Folded) -> Result<(), Stop> {
        let changes = folded.into_iter().map(|(key, row)| Change { key, row }).collect();
        self.rows.apply(self.table, from, to, changes).await.map_err(|error| match error {
            ApplyError::Overtaken => Stop::Overtaken,
            ApplyError::Store(error) => stop(from, error),
        })
    }

    /// The rows after these events, up to the first that cannot be taken in.
    async fn fold(&self, events: &[Recorded]) -> Result<(Folded, Option<(usize, Poison)>), StoreError> {
        let mut keys: Vec<_> = events.iter().filter_map(|event| self.projection.key(event)).collect();
        keys.sort_unstable();
        keys.dedup();
        let before = self.rows.rows(self.table, &keys).await?;
        let mut rows: HashMap<_, _> = before.into_iter().map(|(key, row)| (key, Some(row))).collect();
        for (index, event) in events.iter().enumerate() {
            let Some(key) = self.projection.key(event) else { continue };
            let row = rows.get(&key).cloned().flatten();
            match self.projection.fold(row, event) {
                Ok(row) => rows.insert(key, row),
                Err(poison) => return Ok((rows, Some((index, poison)))),
            };
        }
        Ok((rows, None))
    }
}
