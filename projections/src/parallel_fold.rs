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

/// A row that a batch changes.
pub(crate) struct FoldedRow {
    pub(crate) key: String,
    /// `None` deletes it.
    pub(crate) row: Option<Row>,
    pub(crate) digest: Option<RowsDigest>,
}

/// The result of folding a batch.
#[derive(Default)]
pub(crate) struct FoldResult {
    /// The changed rows.
    pub(crate) folded: Vec<FoldedRow>,
    /// The change of the table digest.
    pub(crate) digest: RowsDigest,
    /// The first event that cannot be applied; later ones are not folded.
    pub(crate) poison: Option<PoisonEvent>,
}

impl FoldedRow {
    fn new(key: String, row: Option<Row>) -> Self {
        let digest = row.as_ref().map(RowsDigest::of);
        Self { key, row, digest }
    }
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
        let (mut rows, mut poison) = (HashMap::<String, Option<Row>>::new(), None);
        let within = |event: &&StoredEvent| until.is_none_or(|until| event.envelope.position <= until);
        for event in self.events.iter().take_while(within) {
            let Some(key) = self.projection.key(&event.envelope).filter(|key| mine(key)) else { continue };
            let row = rows.get(&key).cloned().unwrap_or_else(|| self.before.get(&key).cloned());
            match self.projection.fold(row, event) {
                Ok(row) => drop(rows.insert(key, row)),
                Err(found) if self.skipped.contains(&found.position) => {}
                Err(found) => {
                    poison = Some(found);
                    break;
                }
            }
        }
        let folded: Vec<_> = rows.into_iter().map(|(key, row)| FoldedRow::new(key, row)).collect();
        FoldResult { digest: self.digest(&folded), folded, poison }
    }

    /// The change of the table digest.
    fn digest(&self, folded: &[FoldedRow]) -> RowsDigest {
        folded.iter().fold(RowsDigest::default(), |sum, FoldedRow { key, digest, .. }| {
            let without = self.before.get(key).map_or(sum, |row| sum.minus(row));
            digest.map_or(without, |digest| without.and(digest))
        })
    }
}
