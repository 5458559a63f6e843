//! Proving the rows: the log is replayed, and every row compared with what the replay says, while both go on. Nothing is
//! written. Memory is bounded: of more rows than fit, the first are compared, then the log is replayed for the next.

use std::collections::BTreeMap;
use std::time::Duration;

use store::{Checkpoint, EventQuery, Position, Recorded, Row, RowsDigest, Slice, StoreError, Table};

use crate::folding::{Folding, Stop};
use crate::projection::Projection;
use crate::skips;
use crate::sources::Sources;

/// Bytes of rows that are kept at once.
const BUDGET: usize = 96 * 1024 * 1024;
/// What a kept row costs beside its text.
const OVERHEAD: usize = 96;
/// Rows compared at once.
const PAGE: usize = 1_000;
/// How often a difference is looked at again, and how long the rows may take to catch up in between.
const DOUBTS: u32 = 5;
const CATCHING_UP: Duration = Duration::from_secs(5);
/// Events replayed at once.
const BATCH: usize = 2_000;

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The table.
    pub table: String,
    /// Every row is what the events up to here say.
    pub position: Position,
    /// So many rows.
    pub rows: u64,
    /// The sum of them.
    pub digest: RowsDigest,
}

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A row is not what the log says.
    #[error("{0}")]
    Differs(Difference),
    /// The database, an event that cannot be replayed, or a version that cannot be compared.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A row that is not what the log says, the first by its key. It names no values: they may be personal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// The first field that differs, in alphabetical order; nothing if the row is missing, or should not be there.
    pub field: Option<String>,
    /// What is wrong.
    pub what: &'static str,
    /// How far the table was.
    pub position: Position,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, key, field, what, position } = self;
        write!(out, "{table} at position {position}: the row {key} {what}")?;
        match field {
            Some(field) => write!(out, " in the field `{field}`"),
            None => Ok(()),
        }
    }
}

/// Compares the rows of a version, the live one unless another is named, with a replay of the log. `progress` is told
/// how many events of the present pass are replayed, and of how many.
///
/// # Errors
/// [`VerifyError`].
pub async fn verify(
    projection: &'static dyn Projection,
    sources: &Sources,
    number: Option<u64>,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Verified, VerifyError> {
    let folding = folding(projection, sources, number).await?;
    let begun = folding.checkpoint().await?;
    let mut proof =
        Proof { folding, begun, rows: 0, digest: RowsDigest::default(), position: begun.position };
    let mut low = None;
    loop {
        low = proof.pass(low, progress).await?;
        if low.is_none() {
            let Proof { folding, rows, digest, position, .. } = proof;
            return Ok(Verified { table: folding.table.name.to_string(), position, rows, digest });
        }
    }
}

async fn folding(
    projection: &'static dyn Projection,
    sources: &Sources,
    number: Option<u64>,
) -> Result<Folding, StoreError> {
    let name = projection.name();
    let versions = sources.rows.versions(name).await?;
    let versions =
        versions.ok_or_else(|| StoreError::corrupt(format!("the versions of `{name}` are missing")))?;
    let number = number.unwrap_or(versions.live);
    let version = versions.get(number).ok_or_else(|| {
        StoreError::Refused(format!("`{name}` has no version {number}: {}", versions.describe()))
    })?;
    let fold = projection.fold_of(version.fold).ok_or_else(|| {
        StoreError::Refused(format!("version {number} of `{name}` is made by another version of Aegis"))
    })?;
    Ok(Folding { projection: fold, table: fold.table(number), sources: sources.clone() })
}

struct Proof {
    folding: Folding,
    begun: Checkpoint,
    rows: u64,
    digest: RowsDigest,
    position: Position,
}

impl Proof {
    /// Compares the rows whose keys come after `low`, up to where memory ends; gives the last key it has compared, or
    /// nothing if those were all.
    async fn pass(
        &mut self,
        low: Option<String>,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Option<String>, VerifyError> {
        let mut replay = Replay::new(self.folding.clone(), low.clone());
        let target = self.folding.checkpoint().await?.position;
        replay.advance(target, progress).await?;
        let (mut after, mut doubts) = (low, 0);
        loop {
            let slice = self.slice(after.as_deref()).await?;
            let position = slice.checkpoint.position;
            replay.advance(position, &mut |_, _| {}).await?;
            self.position = position;
            let last = match slice.rows.last() {
                Some(row) if slice.rows.len() == PAGE => Some(key_of(&self.folding.table, row)),
                _ => None,
            };
            let until = match (&last, &replay.high) {
                (Some(last), Some(high)) => Some(last.min(high).clone()),
                (last, high) => last.clone().or_else(|| high.clone()),
            };
            let before = (self.rows, self.digest);
            if let Err(difference) = self.compare(&replay, slice, after.as_deref(), until.as_deref()) {
                // An erasure that is not in the rows yet: the log does not tell any more what they still show. It is
                // believed only of rows that have everything there was when it was seen.
                let head = self.folding.sources.events.head().await?.position;
                if position >= head || doubts == DOUBTS {
                    return Err(difference);
                }
                doubts += 1;
                (self.rows, self.digest) = before;
                self.folding.sources.events.projected(&self.folding.table.name, head, CATCHING_UP).await;
                continue;
            }
            match until {
                None => return Ok(None),
                Some(until) if replay.high.as_ref() == Some(&until) => return Ok(Some(until)),
                Some(until) => after = Some(until),
            }
        }
    }

    async fn slice(&self, after: Option<&str>) -> Result<Slice, StoreError> {
        let slice = self.folding.sources.rows.slice(&self.folding.table, after, PAGE).await?;
        if slice.checkpoint.rebuilds == self.begun.rebuilds {
            return Ok(slice);
        }
        let table = &self.folding.table.name;
        Err(StoreError::Refused(format!("`{table}` was begun anew meanwhile: verify it once more")))
    }

    /// Compares the rows with keys above `after`, up to `until`.
    fn compare(
        &mut self,
        replay: &Replay,
        slice: Slice,
        after: Option<&str>,
        until: Option<&str>,
    ) -> Result<(), VerifyError> {
        let within =
            |key: &str| after.is_none_or(|after| key > after) && until.is_none_or(|until| key <= until);
        let mut expected = replay.rows.iter().filter(|(key, _)| within(key)).peekable();
        let found = slice.rows.into_iter().map(|row| (key_of(&self.folding.table, &row), row));
        for (key, row) in found.filter(|(key, _)| within(key)) {
            match expected.next() {
                Some((wanted, _)) if *wanted < key => return Err(self.differs(wanted, None, MISSING)),
                Some((wanted, text)) if *wanted == key => {
                    if let Some(field) = first_difference(&decoded(text)?, &row) {
                        return Err(self.differs(&key, Some(field), "differs from what the log says"));
                    }
                }
                _ => return Err(self.differs(&key, None, "is not in the log and should not be there")),
            }
            self.rows += 1;
            self.digest = self.digest.plus(&row);
        }
        match expected.next() {
            Some((wanted, _)) => Err(self.differs(wanted, None, MISSING)),
            None => Ok(()),
        }
    }

    fn differs(&self, key: &str, field: Option<String>, what: &'static str) -> VerifyError {
        let table = self.folding.table.name.to_string();
        VerifyError::Differs(Difference { table, key: key.to_owned(), field, what, position: self.position })
    }
}

const MISSING: &str = "is missing, though the log says that there is one";

/// The rows that the log says, of the keys in a range, as JSON texts, which take a third of the room.
struct Replay {
    folding: Folding,
    rows: BTreeMap<String, Vec<u8>>,
    bytes: usize,
    /// Only keys above it.
    low: Option<String>,
    /// Only keys up to it.
    high: Option<String>,
    position: Position,
}

impl Replay {
    fn new(folding: Folding, low: Option<String>) -> Self {
        Self { folding, rows: BTreeMap::new(), bytes: 0, low, high: None, position: Position::START }
    }

    /// Replays up to that position, if it is not there yet.
    async fn advance(
        &mut self,
        until: Position,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), StoreError> {
        while self.position < until {
            let query = EventQuery {
                after: self.position,
                until: Some(until),
                limit: BATCH,
                ..EventQuery::default()
            };
            let from = Checkpoint { position: self.position, ..Checkpoint::default() };
            let (low, high) = (self.low.clone(), self.high.clone());
            let within = move |key: &str| {
                low.as_deref().is_none_or(|low| key > low) && high.as_deref().is_none_or(|high| key <= high)
            };
            let batch = self.folding.read_some(from, &query, until, &within).await.map_err(failed)?;
            for event in &batch.events {
                self.fold(event).await?;
            }
            self.position = batch.to;
            progress(self.position.get(), until.get());
        }
        Ok(())
    }

    async fn fold(&mut self, event: &Recorded) -> Result<(), StoreError> {
        let projection = self.folding.projection;
        let Some(key) = projection.key(&event.envelope) else { return Ok(()) };
        let before = self.rows.get(&key).map(|text| decoded(text)).transpose()?;
        match projection.fold(before, event) {
            Ok(row) => self.put(key, row),
            Err(poison) => {
                let skipped = skips::skipped(&self.folding.sources.events, projection.name()).await?;
                if skipped.contains(&poison.position) {
                    Ok(())
                } else {
                    Err(StoreError::corrupt(poison.to_string()))
                }
            }
        }
    }

    fn put(&mut self, key: String, row: Option<Row>) -> Result<(), StoreError> {
        let cost = |key: &str, text: &[u8]| key.len() + text.len() + OVERHEAD;
        if let Some(old) = self.rows.remove(&key) {
            self.bytes -= cost(&key, &old);
        }
        if let Some(row) = row {
            let text = serde_json::to_vec(&row).map_err(|error| StoreError::corrupt(error.to_string()))?;
            self.bytes += cost(&key, &text);
            self.rows.insert(key, text);
        }
        while self.bytes > BUDGET {
            let Some((last, text)) = self.rows.pop_last() else { break };
            self.bytes -= cost(&last, &text);
            self.high = self.rows.last_key_value().map(|(key, _)| key.clone());
        }
        Ok(())
    }
}

fn failed(stop: Stop) -> StoreError {
    match stop {
        Stop::Failed(error) => error,
        Stop::Poisoned { reason, .. } => StoreError::corrupt(reason),
        Stop::Overtaken => StoreError::corrupt("reading was overtaken"),
    }
}

fn decoded(text: &[u8]) -> Result<Row, StoreError> {
    serde_json::from_slice(text).map_err(|error| StoreError::corrupt(error.to_string()))
}

fn key_of(table: &Table, row: &Row) -> String {
    row.get(table.key()).and_then(|key| key.as_str()).unwrap_or_default().to_owned()
}

/// The first field, in alphabetical order, that two rows do not share; null and absent are the same.
fn first_difference(wanted: &Row, found: &Row) -> Option<String> {
    let names: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    let value = |row: &Row, name: &str| row.get(name).filter(|value| !value.is_null()).cloned();
    names.into_iter().find(|name| value(wanted, name) != value(found, name)).cloned()
}
