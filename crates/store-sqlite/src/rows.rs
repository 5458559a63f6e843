//! Read models: one SQL table each, with the columns that its [`Table`] declares, and a row in `checkpoints`.

mod sql;
mod value;

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params, params_from_iter};
use store::{
    Position, PrefixQuery, ProjectionCheckpoint, ProjectionVersions, ReadModelStore, RefusalReason, Row,
    RowChange, RowPage, StoreError, Table, TableWrite, WriteError,
};

use crate::checkpoints::{find_checkpoint, read_checkpoint, write_checkpoint};
use crate::columns::row_limit;
use crate::error::{SqliteError, none_if_table_missing};
use crate::head::read_head_position;
use crate::projection_versions;
use crate::schema::{READ_MODELS, table_exists};
use crate::sqlite_store::SqliteStore;
use crate::transaction::begin;

/// Rows deleted per transaction when a table is removed, so that other writes run in between.
const DELETE_BATCH_ROWS: i64 = 5_000;

#[async_trait]
impl ReadModelStore for SqliteStore {
    async fn prepare(&self, table: &Table) -> Result<(), StoreError> {
        let prepared = table.clone();
        let result = self.write(move |connection| {
            let table = &prepared;
            let transaction = begin(connection)?;
            transaction.execute_batch(READ_MODELS)?;
            match find_checkpoint(&transaction, &table.name)? {
                Some(known) if known.is_removed() => {
                    return Err(StoreError::table_removed(&table.name).into());
                }
                // Without a rebuild, users whose rows are missing would seem not to exist.
                Some(known)
                    if known.position > Position::START && !table_exists(&transaction, &table.name)? =>
                {
                    tracing::warn!(table = &*table.name, "the table was missing; rebuilding it from the log");
                    let restart = ProjectionCheckpoint::start(known.rebuilds.saturating_add(1));
                    write_checkpoint(&transaction, &table.name, restart)?;
                }
                Some(_) => {}
                // Rows without a checkpoint cannot be trusted.
                None => {
                    transaction.execute_batch(&sql::drop(table))?;
                    write_checkpoint(&transaction, &table.name, ProjectionCheckpoint::default())?;
                }
            }
            transaction.execute_batch(&sql::create(table))?;
            check_columns(&transaction, table)?;
            Ok(transaction.commit()?)
        });
        result.await?;
        self.tracker.watch(&table.name);
        Ok(())
    }

    /// Does nothing: `prepare` creates the indexes with the table. On a full table it would block every
    /// writer.
    async fn index(&self, _: &Table) -> Result<(), StoreError> {
        Ok(())
    }

    async fn checkpoint(&self, table: &Table) -> Result<ProjectionCheckpoint, StoreError> {
        let (name, watched) = (Arc::clone(&table.name), self.tracker.is_watched(&table.name));
        self.read(move |connection| match find_checkpoint(connection, &name)? {
            Some(checkpoint) => Ok(checkpoint),
            None if watched => Err(StoreError::table_dropped("checkpoints").into()),
            None => Ok(ProjectionCheckpoint::default()),
        })
        .await
    }

    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let (table, keys, watched) = (table.clone(), keys.to_vec(), self.tracker.is_watched(&table.name));
        self.read(move |connection| {
            empty_if_never_prepared(rows_of(connection, &table, keys), &table, watched)
        })
        .await
    }

    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<RowPage, StoreError> {
        let Some(sql) = sql::find(table, column) else { return Ok(RowPage::default()) };
        let (table, text, watched) = (table.clone(), text.to_owned(), self.tracker.is_watched(&table.name));
        self.read(move |connection| {
            let checkpoint = read_checkpoint(connection, &table.name)?;
            let head = none_if_table_missing(read_head_position(connection))?.unwrap_or_default();
            let rows = select_rows(connection, &table, &sql, params![text]);
            Ok(RowPage { checkpoint, head, rows: empty_if_never_prepared(rows, &table, watched)? })
        })
        .await
    }

    async fn row_page(
        &self,
        table: &Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        let after = after.map(str::to_owned);
        let limit = row_limit(limit);
        let (table, watched) = (table.clone(), self.tracker.is_watched(&table.name));
        self.read(move |connection| {
            let checkpoint = read_checkpoint(connection, &table.name)?;
            let head = none_if_table_missing(read_head_position(connection))?.unwrap_or_default();
            let rows = match after {
                Some(after) => {
                    select_rows(connection, &table, &sql::page_after(&table), params![limit, after])
                }
                None => select_rows(connection, &table, &sql::first_page(&table), params![limit]),
            };
            Ok(RowPage { checkpoint, head, rows: empty_if_never_prepared(rows, &table, watched)? })
        })
        .await
    }

    async fn prefix_page(&self, table: &Table, query: &PrefixQuery) -> Result<RowPage, StoreError> {
        let Some(sql) = sql::prefix_page(table, query) else { return Ok(RowPage::default()) };
        let lower = match query.lower() {
            Bound::Included(text) | Bound::Excluded(text) => text.to_owned(),
            Bound::Unbounded => String::new(),
        };
        let (limit, upper) = (row_limit(query.limit), query.upper());
        let (table, watched) = (table.clone(), self.tracker.is_watched(&table.name));
        self.read(move |connection| {
            let checkpoint = read_checkpoint(connection, &table.name)?;
            let head = none_if_table_missing(read_head_position(connection))?.unwrap_or_default();
            let rows = match upper {
                Some(upper) => select_rows(connection, &table, &sql, params![limit, lower, upper]),
                None => select_rows(connection, &table, &sql, params![limit, lower]),
            };
            Ok(RowPage { checkpoint, head, rows: empty_if_never_prepared(rows, &table, watched)? })
        })
        .await
    }

    async fn apply_all(&self, writes: Vec<TableWrite>) -> Result<(), WriteError> {
        let tracker = Arc::clone(&self.tracker);
        let applied = self.write(move |connection| {
            let transaction = begin(connection)?;
            for TableWrite { table, from, to, changes } in &writes {
                if from.is_removed() || find_checkpoint(&transaction, &table.name)? != Some(*from) {
                    return Ok(false);
                }
                write_rows(&transaction, table, changes)?;
                write_checkpoint(&transaction, &table.name, *to)?;
            }
            transaction.commit()?;
            for TableWrite { table, to, .. } in &writes {
                tracker.advance_checkpoint(&table.name, *to);
            }
            Ok(true)
        });
        if applied.await? { Ok(()) } else { Err(WriteError::Conflict) }
    }

    async fn versions(&self, projection: &str) -> Result<Option<ProjectionVersions>, StoreError> {
        let (tracker, projection) = (Arc::clone(&self.tracker), projection.to_owned());
        self.read(move |connection| {
            let versions =
                none_if_table_missing(projection_versions::read(connection, &projection))?.flatten();
            if let Some(versions) = versions.clone() {
                tracker.advance_versions(&projection, versions);
            }
            Ok(versions)
        })
        .await
    }

    async fn change_versions(
        &self,
        projection: &str,
        to: &ProjectionVersions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), WriteError> {
        let (tracker, projection, to) = (Arc::clone(&self.tracker), projection.to_owned(), to.clone());
        let behind = behind.map(|(one, other)| (one.clone(), other.clone()));
        let changed = self.write(move |connection| {
            let changed = projection_versions::change(connection, &projection, &to, behind.as_ref())?;
            if changed {
                tracker.advance_versions(&projection, to.clone());
            }
            Ok(changed)
        });
        if changed.await? { Ok(()) } else { Err(WriteError::Conflict) }
    }

    async fn remove(&self, table: &Table) -> Result<(), StoreError> {
        self.tracker.unwatch(&table.name);
        let name = Arc::clone(&table.name);
        // The checkpoint first: it rejects all later writes.
        self.write(move |connection| {
            none_if_table_missing(write_checkpoint(connection, &name, ProjectionCheckpoint::removed()))
        })
        .await?;
        loop {
            let table = table.clone();
            let removed = self.write(move |connection| {
                let some = connection.execute(&sql::remove_some(&table), [DELETE_BATCH_ROWS]);
                let removed = none_if_table_missing(some.map_err(SqliteError::from))?.unwrap_or_default();
                if removed == 0 {
                    connection.execute_batch(&sql::drop(&table))?;
                }
                Ok(removed)
            });
            if removed.await? == 0 {
                return Ok(());
            }
        }
    }
}

/// Checks the columns of an existing table: with other columns every write would fail.
fn check_columns(connection: &Connection, table: &Table) -> Result<(), SqliteError> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let stored =
        statement.query_map([&*table.name], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let declared: Vec<_> = table.schema.columns.iter().map(|column| column.name).collect();
    if stored == declared {
        return Ok(());
    }
    Err(StoreError::from(RefusalReason::TableLayout {
        table: table.name.to_string(),
        stored,
        declared: declared.into_iter().map(str::to_owned).collect(),
    })
    .into())
}

fn write_rows(connection: &Connection, table: &Table, changes: &[RowChange]) -> Result<(), SqliteError> {
    let mut upsert = connection.prepare_cached(&sql::upsert(table))?;
    let mut remove = connection.prepare_cached(&sql::remove(table))?;
    for RowChange { key, row, .. } in changes {
        match row {
            Some(row) => {
                let values: Vec<ToSqlOutput<'_>> = value::to_columns(table, key, row)?;
                upsert.execute(params_from_iter(values))?;
            }
            None => {
                remove.execute([key])?;
            }
        }
    }
    Ok(())
}

fn rows_of(
    connection: &Connection,
    table: &Table,
    keys: Vec<String>,
) -> Result<HashMap<String, Row>, SqliteError> {
    let mut statement = connection.prepare_cached(&sql::by_key(table))?;
    let mut found = HashMap::new();
    for key in keys {
        let mut rows = statement.query([&key])?;
        if let Some(row) = rows.next()? {
            let row = value::from_columns(table, row)?;
            drop(rows);
            found.insert(key, row);
        }
    }
    Ok(found)
}

/// Runs a SELECT and decodes its rows.
fn select_rows(
    connection: &Connection,
    table: &Table,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Row>, SqliteError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(value::from_columns(table, row)?);
    }
    Ok(found)
}

/// A table that was never prepared has no rows; a dropped one may have had any, so it is an error.
fn empty_if_never_prepared<T: Default>(
    found: Result<T, SqliteError>,
    table: &Table,
    watched: bool,
) -> Result<T, SqliteError> {
    match found {
        Err(failure) if failure.is_missing_table() && watched => {
            Err(StoreError::table_dropped(&table.name).into())
        }
        found => Ok(none_if_table_missing(found)?.unwrap_or_default()),
    }
}
