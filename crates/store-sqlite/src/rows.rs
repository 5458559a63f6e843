//! Read models: a table each, with the columns that its [`Table`] declares, and a checkpoint in `projections`.

mod sql;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params, params_from_iter};
use store::{ApplyError, Change, Checkpoint, Pair, Position, ReadModels, Row, StoreError, Table};

use crate::SqliteStore;
use crate::facts::unsigned;
use crate::failure::Failure;
use crate::migrate::PROJECTIONS;
use crate::watch::{is_there, unless_missing};

#[async_trait]
impl ReadModels for SqliteStore {
    async fn prepare(&self, table: &'static Table) -> Result<(), StoreError> {
        let made = self.write(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(PROJECTIONS)?;
            let known = read_checkpoint(&transaction, table.name)?;
            // Rows that are not in the table would be taken for users who do not exist.
            if known.position > Position::START && !is_there(&transaction, table.name)? {
                tracing::warn!(table = table.name, "it was gone; it is filled anew from the log");
                write_checkpoint(&transaction, table.name, emptied(known))?;
            }
            transaction.execute_batch(&sql::create(table))?;
            check_columns(&transaction, table)?;
            transaction.execute(
                "INSERT INTO projections (name, position, rebuilds) VALUES (?1, 0, 0) ON CONFLICT DO NOTHING",
                [table.name],
            )?;
            Ok(transaction.commit()?)
        });
        made.await?;
        self.board.rely_on(table.name);
        Ok(())
    }

    async fn checkpoint(&self, table: &'static Table) -> Result<Checkpoint, StoreError> {
        let relied_on = self.board.relies_on(table.name);
        self.read(move |connection| match find_checkpoint(connection, table.name)? {
            Some(checkpoint) => Ok(checkpoint),
            None if relied_on => Err(StoreError::gone("projections").into()),
            None => Ok(Checkpoint::default()),
        })
        .await
    }

    async fn rows(&self, table: &'static Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let (keys, relied_on) = (keys.to_vec(), self.board.relies_on(table.name));
        self.read(move |connection| or_none(rows_of(connection, table, keys), table, relied_on)).await
    }

    async fn find(
        &self,
        table: &'static Table,
        column: &'static str,
        text: &str,
    ) -> Result<Vec<Row>, StoreError> {
        let Some(sql) = sql::find(table, column) else { return Ok(Vec::new()) };
        let (text, relied_on) = (text.to_owned(), self.board.relies_on(table.name));
        self.read(move |connection| or_none(list(connection, table, &sql, params![text]), table, relied_on))
            .await
    }

    async fn page(
        &self,
        table: &'static Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let after = after.map(str::to_owned);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let relied_on = self.board.relies_on(table.name);
        self.read(move |connection| {
            let page = match after {
                Some(after) => list(connection, table, &sql::page_after(table), params![limit, after]),
                None => list(connection, table, &sql::first_page(table), params![limit]),
            };
            or_none(page, table, relied_on)
        })
        .await
    }

    async fn apply(
        &self,
        table: &'static Table,
        from: Checkpoint,
        to: Position,
        changes: Vec<Change>,
    ) -> Result<(), ApplyError> {
        let board = Arc::clone(&self.board);
        let applied = self.write(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if read_checkpoint(&transaction, table.name)? != from {
                return Ok(false);
            }
            write_rows(&transaction, table, &changes)?;
            let moved = Checkpoint { position: to, ..from };
            write_checkpoint(&transaction, table.name, moved)?;
            transaction.commit()?;
            board.raise_checkpoint(table.name, moved);
            Ok(true)
        });
        if applied.await? { Ok(()) } else { Err(ApplyError::Overtaken) }
    }

    async fn switches(&self, pair: &'static Pair) -> Result<u64, StoreError> {
        let board = Arc::clone(&self.board);
        self.read(move |connection| {
            let switched = read_checkpoint(connection, pair.name)?;
            board.raise_checkpoint(pair.name, switched);
            Ok(switched.rebuilds)
        })
        .await
    }

    async fn reset(&self, pair: &'static Pair, switches: u64) -> Result<Checkpoint, ApplyError> {
        let (board, table) = (Arc::clone(&self.board), pair.idle(switches));
        let emptied = self.write(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if read_checkpoint(&transaction, pair.name)?.rebuilds != switches {
                return Ok(None);
            }
            let emptied = emptied(read_checkpoint(&transaction, table.name)?);
            transaction.execute_batch(&sql::empty(table))?;
            write_checkpoint(&transaction, table.name, emptied)?;
            transaction.commit()?;
            board.raise_checkpoint(table.name, emptied);
            Ok(Some(emptied))
        });
        emptied.await?.ok_or(ApplyError::Overtaken)
    }

    async fn switch(&self, pair: &'static Pair, switches: u64) -> Result<(), ApplyError> {
        let board = Arc::clone(&self.board);
        let done = self.write(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let position =
                |table: &Table| read_checkpoint(&transaction, table.name).map(|found| found.position);
            let as_far = position(pair.idle(switches))? >= position(pair.live(switches))?;
            if read_checkpoint(&transaction, pair.name)?.rebuilds != switches || !as_far {
                return Ok(false);
            }
            let entry = Checkpoint { rebuilds: switches.saturating_add(1), position: Position::START };
            write_checkpoint(&transaction, pair.name, entry)?;
            transaction.commit()?;
            board.raise_checkpoint(pair.name, entry);
            Ok(true)
        });
        if done.await? { Ok(()) } else { Err(ApplyError::Overtaken) }
    }
}

/// A table that was made with other columns would fail with each row that is written.
fn check_columns(connection: &Connection, table: &Table) -> Result<(), Failure> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let stored = statement.query_map([table.name], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let declared: Vec<_> = table.columns.iter().map(|column| column.name).collect();
    if stored == declared {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "table `{}` was made with the columns {}, not with {} as this program would make it. A read model whose columns \
         change needs the next version in the names of its tables",
        table.name,
        stored.join(", "),
        declared.join(", "),
    ))
    .into())
}

/// A table that was never prepared is at the start, and a pair without an entry was never switched.
fn read_checkpoint(connection: &Connection, name: &str) -> Result<Checkpoint, Failure> {
    Ok(find_checkpoint(connection, name)?.unwrap_or_default())
}

fn find_checkpoint(connection: &Connection, name: &str) -> Result<Option<Checkpoint>, Failure> {
    let found = (|| {
        let sql = "SELECT position, rebuilds FROM projections WHERE name = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let found = statement.query_row([name], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(found.optional()?)
    })();
    match unless_missing(found)?.flatten() {
        Some((position, rebuilds)) => Ok(Some(Checkpoint {
            rebuilds: unsigned(rebuilds, "a number of rebuilds")?,
            position: Position::new(unsigned(position, "a checkpoint")?),
        })),
        None => Ok(None),
    }
}

/// The checkpoint of a table that begins anew.
fn emptied(before: Checkpoint) -> Checkpoint {
    Checkpoint { rebuilds: before.rebuilds.saturating_add(1), position: Position::START }
}

fn write_checkpoint(connection: &Connection, name: &str, checkpoint: Checkpoint) -> Result<(), Failure> {
    let sql = "INSERT OR REPLACE INTO projections (name, position, rebuilds) VALUES (?1, ?2, ?3)";
    let rebuilds = i64::try_from(checkpoint.rebuilds).unwrap_or(i64::MAX);
    let position = checkpoint.position.to_i64();
    connection.prepare_cached(sql)?.execute(params![name, position, rebuilds])?;
    Ok(())
}

fn write_rows(connection: &Connection, table: &Table, changes: &[Change]) -> Result<(), Failure> {
    let mut upsert = connection.prepare_cached(&sql::upsert(table))?;
    let mut remove = connection.prepare_cached(&sql::remove(table))?;
    for Change { key, row } in changes {
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
) -> Result<HashMap<String, Row>, Failure> {
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

/// The rows that a statement selects.
fn list(
    connection: &Connection,
    table: &Table,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Row>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(value::from_columns(table, row)?);
    }
    Ok(found)
}

/// What was found. A table that was never prepared has no rows; one that is gone may have had any.
fn or_none<T: Default>(found: Result<T, Failure>, table: &Table, relied_on: bool) -> Result<T, Failure> {
    match found {
        Err(failure) if failure.is_missing_table() && relied_on => Err(StoreError::gone(table.name).into()),
        found => Ok(unless_missing(found)?.unwrap_or_default()),
    }
}
