//! The port to the rows of read models: tables with a checkpoint. Rows and checkpoint move together or not at all,
//! and only from where the writer believes the checkpoint to be; that comparison is what keeps projections right,
//! whoever runs them.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::error::StoreError;
use crate::event::Position;

/// One version of one read model, stored as a table or collection of that name.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// The projection's name, a `_`, and its version: `users_1`.
    pub name: &'static str,
    /// The fields of a row, the key first.
    pub columns: &'static [Column],
    /// Fields to index, each by itself. Never unique: the log has decided already, rows only follow.
    pub indexes: &'static [&'static str],
}

impl Table {
    /// The name of the key field.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.columns.first().map_or("id", |column| column.name)
    }

    /// Makes sure that every field of a row has a column: one without would be lost unheard.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the first field that has none.
    pub fn check(&self, row: &Row) -> Result<(), StoreError> {
        let declared = |name: &String| self.columns.iter().any(|column| column.name == name);
        match row.keys().find(|name| !declared(name)) {
            Some(stranger) => {
                let table = self.name;
                Err(StoreError::corrupt(format!(
                    "table `{table}` has no column for the field `{stranger}`: the columns of the read model and its \
                     fold do not agree. No event is lost; a program in which they agree goes on"
                )))
            }
            None => Ok(()),
        }
    }
}

/// The two tables that a read model lives in by turns: while one is read, the other can be filled anew.
#[derive(Debug, PartialEq, Eq)]
pub struct Pair {
    /// The read model's name, without a version: which table is live is kept under it.
    pub name: &'static str,
    /// The tables. The first is live to begin with; each switch makes the other one live.
    pub tables: [&'static Table; 2],
}

impl Pair {
    /// The table to read after so many switches.
    #[must_use]
    pub fn live(&self, switches: u64) -> &'static Table {
        let [first, second] = self.tables;
        if switches.is_multiple_of(2) { first } else { second }
    }

    /// The other one.
    #[must_use]
    pub fn idle(&self, switches: u64) -> &'static Table {
        self.live(switches.wrapping_add(1))
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

/// How far a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint {
    /// How often the table was emptied to be rebuilt. Of two checkpoints, the one with more rebuilds is the newer.
    pub rebuilds: u64,
    /// The last position whose event is in the rows.
    pub position: Position,
}

/// A row to write, or, without one, to remove.
#[derive(Clone)]
pub struct Change {
    /// The row's key.
    pub key: String,
    /// Its new content.
    pub row: Option<Row>,
}

/// Rows may hold what is personal or secret, so `Debug` tells only their key.
impl fmt::Debug for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.row.is_some() { "write" } else { "remove" };
        write!(out, "Change({what} {})", self.key)
    }
}

/// Why rows were not written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApplyError {
    /// The checkpoint is no longer where the writer believed it to be: somebody else was quicker. Nothing was written.
    #[error("somebody else has moved the checkpoint")]
    Overtaken,
    /// The database could not do it. Whether it did may be unknown: the checkpoint, read again, tells.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A database that holds read models.
#[async_trait]
pub trait ReadModels: Send + Sync {
    /// Creates the table, its indexes and its checkpoint where missing. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done.
    async fn prepare(&self, table: &'static Table) -> Result<(), StoreError>;

    /// How far the table is, as a majority knows it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn checkpoint(&self, table: &'static Table) -> Result<Checkpoint, StoreError>;

    /// The rows of these keys; a missing one is left out.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn rows(&self, table: &'static Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError>;

    /// The rows whose `column`, one of [`Table::indexes`], has this text, at most 100, by ascending key.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn find(
        &self,
        table: &'static Table,
        column: &'static str,
        text: &str,
    ) -> Result<Vec<Row>, StoreError>;

    /// A page of rows by ascending key, above `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn page(
        &self,
        table: &'static Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Writes rows and moves the checkpoint from `from` to `to`, in one transaction; raises the signal.
    ///
    /// # Errors
    /// [`ApplyError::Overtaken`] if the checkpoint is not at `from`; [`StoreError::Corrupt`] if a row does not fit the
    /// table's columns. Nothing is written then.
    async fn apply(
        &self,
        table: &'static Table,
        from: Checkpoint,
        to: Position,
        changes: Vec<Change>,
    ) -> Result<(), ApplyError>;

    /// How often the pair was switched, as a majority knows it; raises the signal.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn switches(&self, pair: &'static Pair) -> Result<u64, StoreError>;

    /// Empties the idle table of a pair and puts its checkpoint to [`Position::START`] with one more rebuild; raises
    /// the signal. Gives the new checkpoint.
    ///
    /// # Errors
    /// [`ApplyError::Overtaken`] if the pair was switched more often than `switches`: the table may be live now.
    async fn reset(&self, pair: &'static Pair, switches: u64) -> Result<Checkpoint, ApplyError>;

    /// Makes the idle table of a pair the live one, in one transaction that compares; raises the signal.
    ///
    /// # Errors
    /// [`ApplyError::Overtaken`] if the pair was switched more often than `switches`, or the idle table is not as far
    /// as the live one: nobody may see a user go back in time.
    async fn switch(&self, pair: &'static Pair, switches: u64) -> Result<(), ApplyError>;
}
