//! Verifies a table: replays the log and compares every row with the result, while both are in use. Nothing
//! is written. Memory is bounded: if the rows do not fit, the log is replayed again for the next range of
//! keys.

mod replay;

use std::time::Duration;

use store::{
    Corruption, Position, ProjectionCheckpoint, RefusalReason, Row, RowPage, RowsDigest, StoreError, Table,
};

use crate::context::ProjectionContext;
use crate::lifecycle;
use crate::projection::Projection;
use crate::table_projection::TableProjection;
use replay::{MEMORY_BUDGET, Replay, decoded};

/// Rows compared per page.
const PAGE: usize = 1_000;
/// How often a difference is rechecked, and how long to wait for projection in between.
const MAX_RECHECKS: u32 = 5;
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// A verified table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTable {
    /// The table.
    pub table: String,
    /// Every row equals the fold of the events up to here.
    pub position: Position,
    /// The number of rows.
    pub rows: u64,
    /// Their digest.
    pub digest: RowsDigest,
}

/// Why a table was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A row differs from the log.
    #[error("{0}")]
    Differs(RowDifference),
    /// The database, an event that cannot be replayed, or a version that cannot be compared.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The first row, by key, that differs from the log. It holds no values: they may be personal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDifference {
    /// The table.
    pub table: String,
    /// The key of the row.
    pub key: String,
    /// What differs.
    pub kind: RowDifferenceKind,
    /// The checkpoint of the table.
    pub position: Position,
}

impl std::fmt::Display for RowDifference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, key, kind, position } = self;
        write!(out, "{table} at position {position}: the row {key} {kind} [{}]", kind.code())
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowDifferenceKind {
    /// The log has the row, and the table does not.
    #[error("is missing, though the log has it")]
    Missing,
    /// The table has the row, and the log does not.
    #[error("is not in the log")]
    Unexpected,
    /// The row differs from the log.
    #[error("differs from the log in the field `{field}`")]
    Field {
        /// The first field that differs, in alphabetical order.
        field: String,
    },
    /// The row does not carry its authentication code. Its fields are not compared.
    #[error("is not authentic: it was changed in the database")]
    Tampered,
}

impl RowDifferenceKind {
    /// A stable, machine-readable name of the variant.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "row_missing",
            Self::Unexpected => "row_unexpected",
            Self::Field { .. } => "row_differs",
            Self::Tampered => "row_tampered",
        }
    }
}

/// Compares the rows of a version, the live one unless another is named, with a replay of the log. `progress`
/// receives the number of replayed events of the current pass, and their total.
///
/// # Errors
/// [`VerifyError`].
pub async fn verify(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    number: Option<u64>,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<VerifiedTable, VerifyError> {
    verify_within(MEMORY_BUDGET, projection, context, number, progress).await
}

/// The same with a memory budget in bytes.
pub(crate) async fn verify_within(
    budget: usize,
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    number: Option<u64>,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<VerifiedTable, VerifyError> {
    let projection = table_projection(projection, context, number).await?;
    let begun = projection.checkpoint().await?;
    let mut proof = Verification {
        budget,
        projection,
        begun,
        rows: 0,
        digest: RowsDigest::default(),
        position: begun.position,
    };
    let mut low = None;
    loop {
        low = proof.pass(low, progress).await?;
        if low.is_none() {
            let Verification { projection, rows, digest, position, .. } = proof;
            return Ok(VerifiedTable { table: projection.table.name.to_string(), position, rows, digest });
        }
    }
}

async fn table_projection(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    number: Option<u64>,
) -> Result<TableProjection, StoreError> {
    let name = projection.name();
    let versions = lifecycle::versions(projection, context).await?;
    let number = number.unwrap_or(versions.live);
    let version = versions.get(number).ok_or_else(|| RefusalReason::VersionNotFound {
        projection: name.to_owned(),
        version: number,
        existing: versions.describe(),
    })?;
    TableProjection::of(projection, version, context).ok_or_else(|| {
        RefusalReason::UnsupportedVersion { projection: name.to_owned(), version: number }.into()
    })
}

struct Verification {
    budget: usize,
    projection: TableProjection,
    begun: ProjectionCheckpoint,
    rows: u64,
    digest: RowsDigest,
    position: Position,
}

impl Verification {
    /// Compares the rows with keys above `low`, as many as fit; returns the last compared key, or `None` at
    /// the end.
    async fn pass(
        &mut self,
        low: Option<String>,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Option<String>, VerifyError> {
        let mut replay = Replay::new(self.projection.clone(), self.budget, low.clone());
        let target = self.projection.checkpoint().await?.position;
        replay.advance(target, progress).await?;
        let (mut after, mut rechecks) = (low, 0);
        loop {
            let slice = self.row_page(after.as_deref()).await?;
            let position = slice.checkpoint.position;
            replay.advance(position, &mut |_, _| {}).await?;
            self.position = position;
            // Events since then take memory too, so the range that fits may already be compared.
            if let Some(done) =
                after.clone().filter(|after| replay.high.as_ref().is_some_and(|high| high <= after))
            {
                return Ok(Some(done));
            }
            let last = match slice.rows.last() {
                Some(row) if slice.rows.len() == PAGE => Some(key_of(&self.projection.table, row)),
                _ => None,
            };
            let until = match (&last, &replay.high) {
                (Some(last), Some(high)) => Some(last.min(high).clone()),
                (last, high) => last.clone().or_else(|| high.clone()),
            };
            let before = (self.rows, self.digest);
            if let Err(difference) = self.compare(&replay, slice, after.as_deref(), until.as_deref()) {
                // The difference may be an erasure that is not projected yet: the log no longer holds what
                // the row shows. It counts only once the table has reached the head.
                let head = self.projection.context.events.head().await?.position;
                if position >= head || rechecks == MAX_RECHECKS {
                    return Err(difference);
                }
                rechecks += 1;
                (self.rows, self.digest) = before;
                self.projection
                    .context
                    .events
                    .wait_until_applied(&self.projection.table.name, head, CATCH_UP_TIMEOUT)
                    .await;
                continue;
            }
            match until {
                None => return Ok(None),
                Some(until) if replay.high.as_ref() == Some(&until) => return Ok(Some(until)),
                Some(until) => after = Some(until),
            }
        }
    }

    async fn row_page(&self, after: Option<&str>) -> Result<RowPage, VerifyError> {
        let read = self.projection.context.rows.row_page(&self.projection.table, after, PAGE).await;
        let slice = read.map_err(|error| match error {
            StoreError::Corrupt(Corruption::RowTampered { key, .. }) => {
                self.differs(&key, RowDifferenceKind::Tampered)
            }
            error => error.into(),
        })?;
        if slice.checkpoint.rebuilds == self.begun.rebuilds {
            return Ok(slice);
        }
        let rebuilt = RefusalReason::TableRebuilt { table: self.projection.table.name.to_string() };
        Err(StoreError::from(rebuilt).into())
    }

    /// Compares the rows with keys above `after`, up to `until`.
    fn compare(
        &mut self,
        replay: &Replay,
        slice: RowPage,
        after: Option<&str>,
        until: Option<&str>,
    ) -> Result<(), VerifyError> {
        let within =
            |key: &str| after.is_none_or(|after| key > after) && until.is_none_or(|until| key <= until);
        let mut expected = replay.rows.iter().filter(|(key, _)| within(key)).peekable();
        let found = slice.rows.into_iter().map(|row| (key_of(&self.projection.table, &row), row));
        for (key, row) in found.filter(|(key, _)| within(key)) {
            match expected.next() {
                Some((wanted, _)) if *wanted < key => {
                    return Err(self.differs(wanted, RowDifferenceKind::Missing));
                }
                Some((wanted, text)) if *wanted == key => {
                    if let Some(field) = first_difference(&decoded(text)?, &row) {
                        return Err(self.differs(&key, RowDifferenceKind::Field { field }));
                    }
                }
                _ => return Err(self.differs(&key, RowDifferenceKind::Unexpected)),
            }
            self.rows += 1;
            self.digest = self.digest.plus(&row);
        }
        match expected.next() {
            Some((wanted, _)) => Err(self.differs(wanted, RowDifferenceKind::Missing)),
            None => Ok(()),
        }
    }

    fn differs(&self, key: &str, kind: RowDifferenceKind) -> VerifyError {
        let table = self.projection.table.name.to_string();
        VerifyError::Differs(RowDifference { table, key: key.to_owned(), kind, position: self.position })
    }
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
