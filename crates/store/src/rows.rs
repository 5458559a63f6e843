//! The port to the rows of read models: tables with a checkpoint. Rows and checkpoint move together or not at all,
//! and only from where the writer believes the checkpoint to be; that comparison is what keeps projections right,
//! whoever runs them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::error::{InternalError, StoreError, WriteError};
use crate::event::Position;
use crate::rows_digest::RowsDigest;
use crate::versions::ProjectionVersions;

/// One version of one read model, stored as a table or collection of that name. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The projection's name, a `_`, and the number of this version: `users_1`.
    pub name: Arc<str>,
    /// What its rows look like.
    pub schema: &'static TableSchema,
}

/// What the rows of a read model look like.
#[derive(Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// The fields of a row, the key first.
    pub columns: &'static [Column],
    /// Fields to index, each by itself. Never unique: the log has decided already, rows only follow.
    pub indexes: &'static [&'static str],
}

impl Table {
    /// The table of that version of a read model.
    #[must_use]
    pub fn of(projection: &str, number: u64, schema: &'static TableSchema) -> Self {
        Self { name: format!("{projection}_{number}").into(), schema }
    }

    /// The name of the key field.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.schema.columns.first().map_or("id", |column| column.name)
    }

    /// Makes sure that every field of a row has a column: one without would be lost unheard.
    ///
    /// # Errors
    /// [`StoreError::Internal`] with the first field that has none.
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

/// A field of a row.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, as in the API where it is shown there.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
}

/// What a field of a row holds, and how it stands in a [`Row`]. Every field may also be null or absent, except the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text: a JSON string.
    Text,
    /// A whole number: a JSON number within `i64`.
    Integer,
    /// True or false: a JSON boolean.
    Boolean,
    /// A moment: in a [`Row`] a JSON number, milliseconds since the Unix epoch; the database's own date type where it
    /// has one.
    Time,
    /// A list of texts: a JSON array of strings.
    TextList,
}

/// A row: field names and values, as [`ColumnKind`] says. Absent and null are the same.
pub type Row = Map<String, Value>;

/// More than any table is begun anew; both databases can store it.
const REMOVED: u64 = i64::MAX.cast_unsigned();

/// How far a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectionCheckpoint {
    /// How often the table was begun anew. Of two checkpoints, the one with more rebuilds is the newer.
    pub rebuilds: u64,
    /// The last position whose event is in the rows.
    pub position: Position,
    /// The sum of all rows as they were written.
    pub digest: RowsDigest,
}

impl ProjectionCheckpoint {
    /// The start, after so many rebuilds.
    #[must_use]
    pub fn start(rebuilds: u64) -> Self {
        Self { rebuilds, ..Self::default() }
    }

    /// What stays of a table that was removed. It is newer than whatever its writers believe.
    #[must_use]
    pub fn removed() -> Self {
        Self::start(REMOVED)
    }

    /// Whether the table was removed, and stays so.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.rebuilds == REMOVED
    }
}

/// A row to write, or, without one, to remove.
#[derive(Clone)]
pub struct RowChange {
    /// The row's key.
    pub key: String,
    /// Its new content.
    pub row: Option<Row>,
    /// Whether there was a row of that key before, as the writer has read it. The checkpoint, which must not have moved
    /// since, vouches for it.
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
    /// Rows by ascending key.
    pub rows: Vec<Row>,
}

impl RowPage {
    /// Whether the rows include every committed event.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.checkpoint.is_removed() && self.checkpoint.position >= self.head
    }
}

/// Rows may hold what is personal or secret, so `Debug` tells only their key.
impl fmt::Debug for RowChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.row.is_some() { "write" } else { "remove" };
        write!(out, "RowChange({what} {})", self.key)
    }
}

/// A database that holds read models.
#[async_trait]
pub trait ReadModelStore: Send + Sync {
    /// Creates the table and its checkpoint where missing. Idempotent. One that is gone, though its checkpoint says that
    /// it has rows, begins anew. Rows can be written from then on, and read by their keys.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done; [`StoreError::table_removed`] if the table was removed before.
    async fn prepare(&self, table: &Table) -> Result<(), StoreError>;

    /// Creates the indexes where missing. Idempotent. To be done before anybody reads by them; where a table is filled
    /// first, they cost less afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done.
    async fn index(&self, table: &Table) -> Result<(), StoreError>;

    /// How far the table is, as a majority knows it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn checkpoint(&self, table: &Table) -> Result<ProjectionCheckpoint, StoreError>;

    /// The rows of these keys; a missing one is left out. For projectors, whose next write compares the
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

    /// A page of rows by ascending key, above `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn row_page(&self, table: &Table, after: Option<&str>, limit: usize)
    -> Result<RowPage, StoreError>;

    /// Writes the rows of several tables and moves their checkpoints, all in one transaction; publishes the
    /// progress.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if one of the checkpoints is not the expected one, or one of the tables was
    /// removed; [`StoreError::Internal`] if a row does not fit its table's columns. Nothing is written then.
    async fn apply_all(&self, writes: Vec<TableWrite>) -> Result<(), WriteError>;

    /// Writes rows of one table and moves its checkpoint from `from` to `to`, as [`ReadModelStore::apply_all`].
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

    /// The versions of a read model, as a majority knows them; publishes the progress. None were made yet if it is `None`.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn versions(&self, projection: &str) -> Result<Option<ProjectionVersions>, StoreError>;

    /// Puts `to` in the place of the versions before it, in one transaction that compares; publishes the progress. With
    /// `behind` the first table must be as far as the second in that same transaction: nobody may see a user go back
    /// in time.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the stored revision is not the one before `to`'s, or the first table is behind.
    async fn change_versions(
        &self,
        projection: &str,
        to: &ProjectionVersions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), WriteError>;

    /// Removes the table with its rows, for good. Idempotent. [`ProjectionCheckpoint::removed`] stays, so that a node that has
    /// slept meanwhile can neither write to it nor make it again, with people in it whom nobody would ever erase.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done, or not wholly; it can be done again.
    async fn remove(&self, table: &Table) -> Result<(), StoreError>;
}
