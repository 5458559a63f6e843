//! Folds a batch on several threads. Every event changes one row, so events are sharded by row key; the
//! result does not depend on the number of threads.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::thread::available_parallelism;

use store::{Position, Row, RowsDigest, StoreError, StoredEvent};

use crate::projection::{PoisonEvent, Projection};

/// Fewer events than this do not justify another thread.
const MIN_EVENTS_PER_THREAD: usize = 256;

/// Rows by key; `None` deletes the row.
pub(crate) type FoldedRows = HashMap<String, Option<Row>>;

/// The result of folding a batch.
#[derive(Default)]
pub(crate) struct FoldResult {
    /// The changed rows.
    pub(crate) folded: FoldedRows,
    /// The change of the table digest.
    pub(crate) digest: RowsDigest,
    /// The first event that cannot be applied; later ones are not folded.
    pub(crate) poison: Option<PoisonEvent>,
}

/// A batch, and the rows before it.
pub(crate) struct FoldTask {
    pub(crate) projection: &'static dyn Projection,
    pub(crate) events: Arc<Vec<StoredEvent>>,
    pub(crate) before: HashMap<String, Row>,
    /// Positions to skip if they cannot be applied.
    pub(crate) skipped: BTreeSet<Position>,
}

/// Folds a batch.
pub(crate) async fn fold(task: &Arc<FoldTask>) -> Result<FoldResult, StoreError> {
    let threads =
        available_parallelism().map_or(1, usize::from).min(task.events.len() / MIN_EVENTS_PER_THREAD);
    if threads < 2 {
        return Ok(task.fold(|_| true, None));
    }
    let shard = |number: usize| {
        let task = Arc::clone(task);
        tokio::task::spawn_blocking(move || task.fold(|key| shard_of(key, threads) == number, None))
    };
    let shards: Vec<_> = (0..threads).map(shard).collect();
    let mut outcome = FoldResult::default();
    let mut poisons = Vec::new();
    for shard in shards {
        let part = shard.await.map_err(|stopped| StoreError::unavailable("folding events", stopped))?;
        outcome.folded.extend(part.folded);
        outcome.digest = outcome.digest.and(part.digest);
        poisons.extend(part.poison);
    }
    // Other threads have folded events beyond it: fold again up to it.
    let first = poisons.into_iter().min_by_key(|poison| poison.position);
    Ok(match first {
        None => outcome,
        Some(poison) => task.fold(|_| true, Some(poison.position)),
    })
}

fn shard_of(key: &str, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % u64::try_from(shards).unwrap_or(1)).unwrap_or_default()
}

impl FoldTask {
    /// Folds the events of these rows, up to the first that cannot be applied.
    fn fold(&self, mine: impl Fn(&str) -> bool, until: Option<Position>) -> FoldResult {
        let mut outcome = FoldResult::default();
        let within = |event: &&StoredEvent| until.is_none_or(|until| event.envelope.position <= until);
        for event in self.events.iter().take_while(within) {
            let Some(key) = self.projection.key(&event.envelope).filter(|key| mine(key)) else { continue };
            let row = outcome.folded.get(&key).cloned().unwrap_or_else(|| self.before.get(&key).cloned());
            match self.projection.fold(row, event) {
                Ok(row) => drop(outcome.folded.insert(key, row)),
                Err(poison) if self.skipped.contains(&poison.position) => {}
                Err(poison) => {
                    outcome.poison = Some(poison);
                    break;
                }
            }
        }
        outcome.digest = self.digest(&outcome.folded);
        outcome
    }

    /// The change of the table digest.
    fn digest(&self, folded: &FoldedRows) -> RowsDigest {
        folded.iter().fold(RowsDigest::default(), |sum, (key, after)| {
            let without = self.before.get(key).map_or(sum, |row| sum.minus(row));
            after.as_ref().map_or(without, |row| without.plus(row))
        })
    }
}
