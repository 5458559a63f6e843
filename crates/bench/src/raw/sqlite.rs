//! The baselines on SQLite: a second file in the same folder, with the same tables, indexes and pragmas.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aegis::config::DATABASE_FILE;
use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Statement, params, params_from_iter};
use store::Table;

use super::driver::{BATCH, RawDriver, counted, rate};
use crate::error::BenchError;
use crate::registrations::EventRange;
use crate::time_slice::TimeSlice;

/// What `crates/store-sqlite/src/connection.rs` sets, and a WAL that is moved into the file as late as its
/// `managed_connection.rs` does.
const PRAGMAS: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA foreign_keys = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -16384;
PRAGMA wal_autocheckpoint = 16000;
PRAGMA journal_size_limit = 67108864;
";

/// The tables that an append of a new user writes to.
const SCHEMA_OF_COPIED: &str = "SELECT sql FROM sqlite_schema
    WHERE tbl_name IN ('head', 'vault', 'claims', 'events') AND sql IS NOT NULL ORDER BY rowid";

pub(crate) struct RawSqlite {
    /// The event store's file.
    source: PathBuf,
    /// The bare one; `None` while a job uses it.
    connection: Option<Connection>,
}

/// A row of any table.
type Row = Vec<Value>;

/// The rows that one append has written.
struct AppendRows {
    event: Row,
    vault: Row,
    claims: Vec<Row>,
}

impl RawSqlite {
    pub(crate) async fn new(folder: &Path) -> Result<Self, BenchError> {
        let (source, file) = (folder.join(DATABASE_FILE), folder.join("raw.db"));
        let mut raw = Self { source, connection: None };
        raw.run(move |source, connection| {
            *connection = Connection::open(&file)?;
            connection.execute_batch(PRAGMAS)?;
            let mut schema = source.prepare(SCHEMA_OF_COPIED)?;
            for statement in schema.query_map([], |row| row.get::<_, String>(0))? {
                connection.execute_batch(&statement?)?;
            }
            Ok(())
        })
        .await?;
        Ok(raw)
    }

    /// Runs a job on a thread that may block, with a connection that reads the event store's file and the
    /// bare one.
    async fn run<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&Connection, &mut Connection) -> Result<T, BenchError> + Send + 'static,
    ) -> Result<T, BenchError> {
        let (source, connection) = (self.source.clone(), self.connection.take());
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = connection.map_or_else(Connection::open_in_memory, Ok)?;
            let source = Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            source.pragma_update(None, "query_only", true)?;
            let done = job(&source, &mut connection)?;
            Ok::<_, BenchError>((done, connection))
        });
        let (done, connection) =
            done.await.map_err(|stopped| BenchError::InvalidMeasurement(stopped.to_string()))??;
        self.connection = Some(connection);
        Ok(done)
    }
}

#[async_trait]
impl RawDriver for RawSqlite {
    async fn batches(&mut self, written: EventRange, slice: &TimeSlice) -> Result<f64, BenchError> {
        let slice = slice.clone();
        self.run(move |source, connection| {
            let appends = rows(source, written)?;
            let begun = Instant::now();
            for batch in appends.chunks(BATCH) {
                slice.check()?;
                let transaction = connection.transaction()?;
                insert(&transaction, batch)?;
                transaction.commit()?;
            }
            rate(written, appends.len(), begun)
        })
        .await
    }

    async fn transactions(
        &mut self,
        written: EventRange,
        slice: &TimeSlice,
    ) -> Result<Vec<Duration>, BenchError> {
        let slice = slice.clone();
        self.run(move |source, connection| {
            let head = first(&mut source.prepare("SELECT * FROM head")?, &[])?;
            let mut took = Vec::new();
            for append in rows(source, written)? {
                slice.check()?;
                let begun = Instant::now();
                connection.execute_batch("BEGIN IMMEDIATE")?;
                insert_into(connection, "head", std::iter::once(&head))?;
                insert(connection, &[append])?;
                connection.execute_batch("COMMIT")?;
                took.push(begun.elapsed());
            }
            Ok(took)
        })
        .await
    }

    async fn read(&mut self, written: EventRange, slice: &TimeSlice) -> Result<f64, BenchError> {
        slice.check()?;
        self.run(move |source, _| {
            let begun = Instant::now();
            let sql = "SELECT * FROM events WHERE position > ?1 AND position <= ?2 ORDER BY position";
            let bounds = params![written.after.to_i64(), written.until.to_i64()];
            rate(written, all(&mut source.prepare(sql)?, bounds)?.len(), begun)
        })
        .await
    }

    async fn rows(&mut self, table: &Table, slice: &TimeSlice) -> Result<(usize, f64), BenchError> {
        let (slice, name) = (slice.clone(), table.name.to_string());
        self.run(move |source, connection| {
            let rows = all(&mut source.prepare(&format!("SELECT * FROM {name}"))?, &[])?;
            let sql = "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 AND sql IS NOT NULL ORDER BY rowid";
            let mut schema = source.prepare(sql)?;
            for statement in schema.query_map([&name], |row| row.get::<_, String>(0))? {
                connection.execute_batch(&statement?)?;
            }
            let begun = Instant::now();
            for batch in rows.chunks(BATCH) {
                slice.check()?;
                let transaction = connection.transaction()?;
                insert_into(&transaction, &name, batch.iter())?;
                transaction.commit()?;
            }
            let counted = counted(rows.len(), begun);
            connection.execute_batch(&format!("DROP TABLE {name}"))?;
            Ok(counted)
        })
        .await
    }
}

/// The rows that the event store has written, append by append: a registration is one event.
fn rows(source: &Connection, written: EventRange) -> Result<Vec<AppendRows>, BenchError> {
    let mut events =
        source.prepare("SELECT * FROM events WHERE position > ?1 AND position <= ?2 ORDER BY position")?;
    let stream_at = events.column_index("stream")?;
    let mut vault = source.prepare("SELECT * FROM vault WHERE stream = ?1")?;
    let mut claims = source.prepare("SELECT * FROM claims WHERE stream = ?1")?;
    let bounds = params![written.after.to_i64(), written.until.to_i64()];
    let mut appends = Vec::new();
    for event in all(&mut events, bounds)? {
        let stream = event.get(stream_at).cloned().unwrap_or(Value::Null);
        let of_stream: &[&dyn rusqlite::ToSql] = &[&stream];
        appends.push(AppendRows {
            vault: first(&mut vault, of_stream)?,
            claims: all(&mut claims, of_stream)?,
            event,
        });
    }
    Ok(appends)
}

fn all(statement: &mut Statement<'_>, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<Row>, BenchError> {
    let columns = statement.column_count();
    let found =
        statement.query_map(parameters, |row| (0..columns).map(|column| row.get(column)).collect())?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn first(statement: &mut Statement<'_>, parameters: &[&dyn rusqlite::ToSql]) -> Result<Row, BenchError> {
    let found = all(statement, parameters)?.into_iter().next();
    found.ok_or_else(|| BenchError::InvalidMeasurement("a row of the event store is missing".to_owned()))
}

/// Table by table, as is fastest when all rows are known.
fn insert(connection: &Connection, appends: &[AppendRows]) -> Result<(), BenchError> {
    insert_into(connection, "vault", appends.iter().map(|append| &append.vault))?;
    insert_into(connection, "claims", appends.iter().flat_map(|append| &append.claims))?;
    insert_into(connection, "events", appends.iter().map(|append| &append.event))
}

/// Rows of one table. There is a single head, which replaces the previous one.
fn insert_into<'a>(
    connection: &Connection,
    table: &str,
    rows: impl Iterator<Item = &'a Row> + Clone,
) -> Result<(), BenchError> {
    let columns = rows.clone().next().map_or(0, Vec::len);
    let verb = if table == "head" { "REPLACE" } else { "INSERT" };
    let sql = format!("{verb} INTO {table} VALUES ({})", vec!["?"; columns].join(", "));
    let mut statement = connection.prepare_cached(&sql)?;
    for row in rows {
        statement.execute(params_from_iter(row))?;
    }
    Ok(())
}
