//! Read models: a table each, with the columns that its [`Table`] declares, and a checkpoint in `checkpoints`.

mod sql;
mod value;
pub(crate) mod versions;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, TransactionBehavior, params, params_from_iter};
use store::{ApplyError, Change, Checkpoint, Position, ReadModels, Row, Slice, StoreError, Table, Versions};

use crate::SqliteStore;
use crate::facts::unsigned;
use crate::failure::Failure;
use crate::migrate::READ_MODELS;
use crate::watch::{is_there, unless_missing};

/// How many rows of a table that is removed go in one transaction: others write in between.
const REMOVED_AT_ONCE: i64 = 5_000;

#[async_trait]
impl ReadModels for SqliteStore {
    async fn prepare(&self, table: &Table) -> Result<(), StoreError> {
        let asked = table.clone();
        let made = self.write(move |connection| {
            let table = &asked;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(READ_MODELS)?;
            match find_checkpoint(&transaction, &table.name)? {
                Some(known) if known.is_removed() => return Err(StoreError::removed(&table.name).into()),
                // Rows that are not in the table would be taken for users who do not exist.
                Some(known) if known.position > Position::START && !is_there(&transaction, &table.name)? => {
                    tracing::warn!(table = &*table.name, "it was gone; it is filled anew from the log");
                    let anew = Checkpoint::start(known.rebuilds.saturating_add(1));
                    write_checkpoint(&transaction, &table.name, anew)?;
                }
                Some(_) => {}
                // Rows without a checkpoint are nobody's.
                None => {
                    transaction.execute_batch(&sql::drop(table))?;
                    write_checkpoint(&transaction, &table.name, Checkpoint::default())?;
                }
            }
            transaction.execute_batch(&sql::create(table))?;
            check_columns(&transaction, table)?;
            Ok(transaction.commit()?)
        });
        made.await?;
        self.board.rely_on(&table.name);
        Ok(())
    }

    /// They are made with the table: whoever made them of a million rows would keep every other writer waiting.
    async fn index(&self, _: &Table) -> Result<(), StoreError> {
        Ok(())
    }

    async fn checkpoint(&self, table: &Table) -> Result<Checkpoint, StoreError> {
        let (name, relied_on) = (Arc::clone(&table.name), self.board.relies_on(&table.name));
        self.read(move |connection| match find_checkpoint(connection, &name)? {
            Some(checkpoint) => Ok(checkpoint),
            None if relied_on => Err(StoreError::gone("checkpoints").into()),
            None => Ok(Checkpoint::default()),
        })
        .await
    }

    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let (table, keys, relied_on) = (table.clone(), keys.to_vec(), self.board.relies_on(&table.name));
        self.read(move |connection| or_none(rows_of(connection, &table, keys), &table, relied_on)).await
    }

    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<Vec<Row>, StoreError> {
        let Some(sql) = sql::find(table, column) else { return Ok(Vec::new()) };
        let (table, text, relied_on) = (table.clone(), text.to_owned(), self.board.relies_on(&table.name));
        self.read(move |connection| or_none(list(connection, &table, &sql, params![text]), &table, relied_on))
            .await
    }

    async fn slice(&self, table: &Table, after: Option<&str>, limit: usize) -> Result<Slice, StoreError> {
        let after = after.map(str::to_owned);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (table, relied_on) = (table.clone(), self.board.relies_on(&table.name));
        self.read(move |connection| {
            let checkpoint = read_checkpoint(connection, &table.name)?;
            let rows = match after {
                Some(after) => list(connection, &table, &sql::page_after(&table), params![limit, after]),
                None => list(connection, &table, &sql::first_page(&table), params![limit]),
            };
            Ok(Slice { checkpoint, rows: or_none(rows, &table, relied_on)? })
        })
        .await
    }

    async fn apply(
        &self,
        table: &Table,
        from: Checkpoint,
        to: Checkpoint,
        changes: Vec<Change>,
    ) -> Result<(), ApplyError> {
        let (board, table) = (Arc::clone(&self.board), table.clone());
        let applied = self.write(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if from.is_removed() || find_checkpoint(&transaction, &table.name)? != Some(from) {
                return Ok(false);
            }
            write_rows(&transaction, &table, &changes)?;
            write_checkpoint(&transaction, &table.name, to)?;
            transaction.commit()?;
            board.raise_checkpoint(&table.name, to);
            Ok(true)
        });
        if applied.await? { Ok(()) } else { Err(ApplyError::Overtaken) }
    }

    async fn versions(&self, projection: &str) -> Result<Option<Versions>, StoreError> {
        let (board, projection) = (Arc::clone(&self.board), projection.to_owned());
        self.read(move |connection| {
            let versions = unless_missing(versions::read(connection, &projection))?.flatten();
            if let Some(versions) = versions.clone() {
                board.raise_versions(&projection, versions);
            }
            Ok(versions)
        })
        .await
    }

    async fn change_versions(
        &self,
        projection: &str,
        to: &Versions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), ApplyError> {
        let (board, projection, to) = (Arc::clone(&self.board), projection.to_owned(), to.clone());
        let behind = behind.map(|(one, other)| (one.clone(), other.clone()));
        let changed = self.write(move |connection| {
            let changed = versions::change(connection, &projection, &to, behind.as_ref())?;
            if changed {
                board.raise_versions(&projection, to);
            }
            Ok(changed)
        });
        if changed.await? { Ok(()) } else { Err(ApplyError::Overtaken) }
    }

    async fn remove(&self, table: &Table) -> Result<(), StoreError> {
        self.board.forget(&table.name);
        let name = Arc::clone(&table.name);
        // The checkpoint first: from then on nobody writes to it.
        self.write(move |connection| {
            unless_missing(write_checkpoint(connection, &name, Checkpoint::removed()))
        })
        .await?;
        loop {
            let table = table.clone();
            let removed = self.write(move |connection| {
                let some = connection.execute(&sql::remove_some(&table), [REMOVED_AT_ONCE]);
                let removed = unless_missing(some.map_err(Failure::from))?.unwrap_or_default();
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

/// A table that was made with other columns would fail with each row that is written.
fn check_columns(connection: &Connection, table: &Table) -> Result<(), Failure> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let stored =
        statement.query_map([&*table.name], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let declared: Vec<_> = table.shape.columns.iter().map(|column| column.name).collect();
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

/// A table that was never prepared is at the start.
fn read_checkpoint(connection: &Connection, name: &str) -> Result<Checkpoint, Failure> {
    Ok(find_checkpoint(connection, name)?.unwrap_or_default())
}

fn find_checkpoint(connection: &Connection, name: &str) -> Result<Option<Checkpoint>, Failure> {
    let found = (|| {
        let sql = "SELECT name, position, rebuilds, digest FROM checkpoints WHERE name = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([name])?;
        rows.next()?.map(to_checkpoint).transpose()
    })();
    Ok(unless_missing(found)?.flatten())
}

/// A checkpoint from `position, rebuilds, digest` in the columns after the first.
pub(crate) fn to_checkpoint(row: &rusqlite::Row<'_>) -> Result<Checkpoint, Failure> {
    let digest: String = row.get(3)?;
    Ok(Checkpoint {
        rebuilds: unsigned(row.get(2)?, "a number of rebuilds")?,
        position: Position::new(unsigned(row.get(1)?, "a checkpoint")?),
        digest: digest
            .parse()
            .map_err(|error| Failure::corrupt(format!("the digest of a table: {error}")))?,
    })
}

fn write_checkpoint(connection: &Connection, name: &str, checkpoint: Checkpoint) -> Result<(), Failure> {
    let sql = "INSERT OR REPLACE INTO checkpoints (name, position, rebuilds, digest) VALUES (?1, ?2, ?3, ?4)";
    let Checkpoint { rebuilds, position, digest } = checkpoint;
    let rebuilds = i64::try_from(rebuilds).unwrap_or(i64::MAX);
    let values = params![name, position.to_i64(), rebuilds, digest.to_string()];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn write_rows(connection: &Connection, table: &Table, changes: &[Change]) -> Result<(), Failure> {
    let mut upsert = connection.prepare_cached(&sql::upsert(table))?;
    let mut remove = connection.prepare_cached(&sql::remove(table))?;
    for Change { key, row, known: _ } in changes {
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
        Err(failure) if failure.is_missing_table() && relied_on => Err(StoreError::gone(&table.name).into()),
        found => Ok(unless_missing(found)?.unwrap_or_default()),
    }
}
