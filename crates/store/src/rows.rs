//! The port to the tables of read models and their projection checkpoints.
//!
//! Rows and checkpoint are written in one transaction, by compare-and-set on the checkpoint (optimistic
//! concurrency). That keeps projections correct even if several nodes run them. Folding events into rows
//! belongs in the `projections` crate.

use std::collections::HashMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::error::{InternalError, StoreError, WriteError};
use crate::event::Position;
use crate::rows_digest::RowsDigest;
use crate::versions::ProjectionVersions;

/// The table, or collection, of one version of a read model. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The name of the projection, `_` and the number of the version: `users_1`.
    pub name: Arc<str>,
    /// The schema of its rows.
    pub schema: &'static TableSchema,
}

/// The schema of the rows of a read model.
#[derive(Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// The columns, the key first.
    pub columns: &'static [Column],
    /// Columns to index, each separately. Indexes are never unique: uniqueness is decided by the log.
    pub indexes: &'static [&'static str],
}

impl Table {
    /// The table of a version of a read model.
    #[must_use]
    pub fn of(projection: &str, number: u64, schema: &'static TableSchema) -> Self {
        Self { name: format!("{projection}_{number}").into(), schema }
    }

    /// The name of the key column.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.schema.columns.first().map_or("id", |column| column.name)
    }

    /// Checks that every field of a row has a column: others would be lost silently.
    ///
    /// # Errors
    /// [`StoreError::Internal`] with the first field that has no column.
    pub fn check(&self, row: &Row) -> Result<(), StoreError> {
        let declared = |name: &String| self.schema.columns.iter().any(|column| column.name == name);
        match row.keys().find(|name| !declared(name)) {
            Some(field) => {
                Err(InternalError::UndeclaredField { table: self.name.to_string(), field: field.clone() }
                    .into())
            }
            None => Ok(()),
        }
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name; where the API shows the field, the same as there.
    pub name: &'static str,
    /// The type of its values.
    pub kind: ColumnKind,
}

/// The type of the values of a column and their form in a [`Row`]. Every value except the key may also be
/// null or absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text: a JSON string.
    Text,
    /// A whole number: a JSON number within `i64`.
    Integer,
    /// True or false: a JSON boolean.
    Boolean,
    /// A time: in a [`Row`] a JSON number, milliseconds since the Unix epoch; in the database its date type,
    /// if it has one.
    Time,
    /// A list of texts: a JSON array of strings.
    TextList,
}

/// A row: names and values of fields, in the form of their [`ColumnKind`]. Absent and null are equal.
pub type Row = Map<String, Value>;

/// The number of rebuilds of a removed table: higher than any other, and storable in both databases.
const REMOVED: u64 = i64::MAX.cast_unsigned();

/// The projection checkpoint of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectionCheckpoint {
    /// The number of times that the table was emptied and refilled. Of two checkpoints, the one with more is
    /// the newer.
    pub rebuilds: u64,
    /// The position of the last event that is applied to the rows.
    pub position: Position,
    /// The digest of all rows as written.
    pub digest: RowsDigest,
}

impl ProjectionCheckpoint {
    /// The checkpoint of an empty table after that many rebuilds.
    #[must_use]
    pub fn start(rebuilds: u64) -> Self {
        Self { rebuilds, ..Self::default() }
    }

    /// The checkpoint that remains of a removed table, newer than any that a writer may still hold.
    #[must_use]
    pub fn removed() -> Self {
        Self::start(REMOVED)
    }

    /// Whether the table was removed for good.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.rebuilds == REMOVED
    }
}

/// A row to write or to delete.
#[derive(Clone)]
pub struct RowChange {
    /// The key of the row.
    pub key: String,
    /// The new row; `None` deletes it.
    pub row: Option<Row>,
    /// The digest of the new row, if the writer has computed it.
    pub digest: Option<RowsDigest>,
    /// Whether a row with that key existed when the writer read it. Still true at the write, because the
    /// checkpoint is compared.
    pub existed: bool,
}

/// What one commit of a projector writes to one table.
#[derive(Clone, Debug)]
pub struct TableWrite {
    /// The table.
    pub table: Table,
    /// The checkpoint that it must be at (optimistic concurrency).
    pub from: ProjectionCheckpoint,
    /// The checkpoint after the write.
    pub to: ProjectionCheckpoint,
    /// The changed rows.
    pub changes: Vec<RowChange>,
}

/// Rows, and how current they are, all of one snapshot.
#[derive(Clone, Debug, Default)]
pub struct RowPage {
    /// The checkpoint of the table.
    pub checkpoint: ProjectionCheckpoint,
    /// The head of the log. Rows whose checkpoint has reached it include every committed event.
    pub head: Position,
    /// Rows in ascending order of the key, or of the column of a [`PrefixQuery`].
    pub rows: Vec<Row>,
}

impl RowPage {
    /// Whether the rows include every committed event.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.checkpoint.is_removed() && self.checkpoint.position >= self.head
    }
}

/// Rows whose column begins with a text, in ascending order of that column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixQuery {
    /// An indexed text column, in which no two rows have the same value.
    pub column: &'static str,
    /// The beginning; empty for all rows.
    pub prefix: String,
    /// Only rows above this value.
    pub after: Option<String>,
    /// Maximum number of rows.
    pub limit: usize,
}

impl PrefixQuery {
    /// The lower bound of the values. Texts are ordered by code points, as their UTF-8 bytes are.
    #[must_use]
    pub fn lower(&self) -> Bound<&str> {
        match &self.after {
            Some(after) if *after >= self.prefix => Bound::Excluded(after),
            _ => Bound::Included(&self.prefix),
        }
    }

    /// The upper bound of the values, exclusive; `None` if there is none.
    #[must_use]
    pub fn upper(&self) -> Option<String> {
        let mut characters: Vec<char> = self.prefix.chars().collect();
        while let Some(last) = characters.pop() {
            if let Some(next) = successor(last) {
                characters.push(next);
                return Some(characters.into_iter().collect());
            }
        }
        None
    }
}

/// The next character. Surrogates are none.
fn successor(character: char) -> Option<char> {
    match character {
        '\u{D7FF}' => Some('\u{E000}'),
        other => char::from_u32(u32::from(other) + 1),
    }
}

/// Rows may contain personal data or secrets, so `Debug` shows only the key.
impl fmt::Debug for RowChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.row.is_some() { "write" } else { "delete" };
        write!(out, "RowChange({what} {})", self.key)
    }
}

/// A database that stores read models.
#[async_trait]
pub trait ReadModelStore: Send + Sync {
    /// Creates the table and its checkpoint if missing, so that rows can be written, and read by key.
    /// Idempotent. If the table is missing although its checkpoint has a position, the checkpoint is reset
    /// and the table is rebuilt.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be created; [`StoreError::table_removed`] if the table was removed.
    async fn prepare(&self, table: &Table) -> Result<(), StoreError>;

    /// Creates the indexes if missing, so that rows can be found by indexed columns. Idempotent. Cheaper
    /// after a table is filled than before.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be created.
    async fn index(&self, table: &Table) -> Result<(), StoreError>;

    /// The projection checkpoint of the table, majority-committed.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn checkpoint(&self, table: &Table) -> Result<ProjectionCheckpoint, StoreError>;

    /// The rows with these keys; missing ones are omitted. For projectors, whose next write compares the
    /// checkpoint.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError>;

    /// The rows whose `column`, the key or one of [`TableSchema::indexes`], has this text, at most 100, by
    /// ascending key.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<RowPage, StoreError>;

    /// A page of rows by ascending key, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn row_page(&self, table: &Table, after: Option<&str>, limit: usize)
    -> Result<RowPage, StoreError>;

    /// Adds to the rows what [`ReadModelStore::apply_all`] would add to them, ahead of it: writers that prepare a
    /// write while another one is in progress save the time there. Optional.
    async fn sign_rows(&self, write: TableWrite) -> TableWrite {
        write
    }

    /// The rows of a query by prefix, with an index.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn prefix_page(&self, table: &Table, query: &PrefixQuery) -> Result<RowPage, StoreError>;

    /// Writes the rows of several tables and moves their checkpoints, all in one transaction; publishes the
    /// progress.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if one of the checkpoints is not the expected one, or one of the tables was
    /// removed; [`StoreError::Internal`] if a row does not fit its table's columns. Nothing is written then.
    async fn apply_all(&self, writes: Vec<TableWrite>) -> Result<(), WriteError>;

    /// Writes rows of one table and moves its checkpoint from `from` to `to`, as
    /// [`ReadModelStore::apply_all`].
    ///
    /// # Errors
    /// As [`ReadModelStore::apply_all`].
    async fn apply(
        &self,
        table: &Table,
        from: ProjectionCheckpoint,
        to: ProjectionCheckpoint,
        changes: Vec<RowChange>,
    ) -> Result<(), WriteError> {
        self.apply_all(vec![TableWrite { table: table.clone(), from, to, changes }]).await
    }

    /// The versions of a read model, majority-committed; `None` if none were created. Publishes the progress.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn versions(&self, projection: &str) -> Result<Option<ProjectionVersions>, StoreError>;

    /// Replaces the versions by compare-and-set on their revision; publishes the progress. With `behind`, the
    /// first table must have reached the checkpoint of the second in the same transaction, so that a cutover
    /// never shows older rows.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the stored revision is not the one before `to`'s, or the first table is
    /// behind.
    async fn change_versions(
        &self,
        projection: &str,
        to: &ProjectionVersions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), WriteError>;

    /// Removes the table with its rows for good. Idempotent. [`ProjectionCheckpoint::removed`] stays, so that
    /// a node that was suspended can neither write to the table nor recreate it: no erasure would reach the
    /// personal data in it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be removed, or only partly; retry.
    async fn remove(&self, table: &Table) -> Result<(), StoreError>;
}
