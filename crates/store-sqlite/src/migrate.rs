//! Creates what is missing in the database: tables and the genesis of the log.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use store::backend::{FIRST_EPOCH, Genesis};
use store::head::Head;
use store::key_store::ClaimBackfill;
use store::rotation::{CLAIMS, SIGNING};
use store::{Corruption, Position, RefusalReason, StoreError};
use uuid::Uuid;

use crate::connection::{check_format, stored_format};
use crate::database_file::DatabaseFile;
use crate::error::SqliteError;
use crate::foreign_objects::reject_foreign_objects;
use crate::head::write_head;
use crate::key_store::service_keys;
use crate::schema::{READ_MODELS, SCHEMA};
use crate::transaction::begin;

/// The row of `meta` with the epoch of the log.
const EPOCH: &str = "epoch";
/// The row of `meta` with how far claims have been backfilled: the position, a space, the version of the rules.
const CLAIM_BACKFILL: &str = "claim_backfill";

/// Creates what is missing and returns the stored genesis. Concurrent processes agree on one genesis.
pub(crate) fn migrate(
    connection: &mut Connection,
    genesis: &Genesis,
    file: &DatabaseFile,
) -> Result<Genesis, SqliteError> {
    let transaction = begin(connection)?;
    let format = stored_format(&transaction)?;
    match &format {
        Some(format) => check_format(format, file)?,
        None if has_events(&transaction)? => {
            return Err(StoreError::from(RefusalReason::MissingMeta { database: file.to_string() }).into());
        }
        None => {}
    }
    reject_foreign_objects(&transaction, file)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute_batch(READ_MODELS)?;
    if format.is_none() {
        write_genesis(&transaction, genesis)?;
    }
    let stored = read_genesis(&transaction)?;
    transaction.commit()?;
    Ok(stored)
}

fn has_events(transaction: &Transaction<'_>) -> Result<bool, SqliteError> {
    let first = transaction.query_row("SELECT 1 FROM events LIMIT 1", [], |_| Ok(()));
    match first.optional().map_err(SqliteError::from) {
        Err(failure) if failure.is_missing_table() => Ok(false),
        first => Ok(first?.is_some()),
    }
}

fn write_genesis(transaction: &Transaction<'_>, genesis: &Genesis) -> Result<(), SqliteError> {
    let mut meta = transaction.prepare("INSERT INTO meta (name, value) VALUES (?1, ?2)")?;
    meta.execute(params!["format", genesis.format.to_string()])?;
    meta.execute(params!["log_id", genesis.log_id.hyphenated().to_string()])?;
    let mut keys = transaction.prepare("INSERT INTO keys (name, wrapped) VALUES (?1, ?2)")?;
    keys.execute(params![CLAIMS, genesis.claim_key])?;
    keys.execute(params![SIGNING, genesis.signing_key])?;
    write_head(transaction, &Head::default())
}

fn read_genesis(transaction: &Transaction<'_>) -> Result<Genesis, SqliteError> {
    let meta = |name: &str| {
        let value = read_meta(transaction, name)?;
        value.ok_or_else(|| SqliteError::from(Corruption::missing(format!("`{name}` in `meta`"))))
    };
    let mut keys = service_keys(transaction)?;
    let mut key = |name: &str| {
        keys.remove(name).ok_or_else(|| Corruption::missing(format!("the service key `{name}`")))
    };
    let invalid =
        |name: &str| Corruption::invalid(format!("`{name}` in `meta`"), "its value has another type");
    Ok(Genesis {
        format: meta("format")?.parse().map_err(|_| invalid("format"))?,
        log_id: Uuid::parse_str(&meta("log_id")?).map_err(|_| invalid("log_id"))?,
        claim_key: key(CLAIMS)?,
        signing_key: key(SIGNING)?,
    })
}

pub(crate) fn read_epoch(connection: &Connection) -> Result<u64, SqliteError> {
    read_meta(connection, EPOCH)?.map_or(Ok(FIRST_EPOCH), |stored| {
        stored.parse().map_err(|error| Corruption::invalid("`epoch` in `meta`", error).into())
    })
}

pub(crate) fn write_epoch(connection: &mut Connection, epoch: u64) -> Result<(), SqliteError> {
    write_meta(connection, EPOCH, &epoch.to_string())
}

pub(crate) fn read_claim_backfill(connection: &Connection) -> Result<Option<ClaimBackfill>, SqliteError> {
    let Some(stored) = read_meta(connection, CLAIM_BACKFILL)? else { return Ok(None) };
    let read = stored.split_once(' ').and_then(|(position, rules)| {
        Some(ClaimBackfill { rules: rules.to_owned(), position: Position::new(position.parse().ok()?) })
    });
    let invalid = || Corruption::invalid("`claim_backfill` in `meta`", "it is not a position and a version");
    Ok(Some(read.ok_or_else(invalid)?))
}

pub(crate) fn write_claim_backfill(
    connection: &mut Connection,
    reached: &ClaimBackfill,
) -> Result<(), SqliteError> {
    write_meta(connection, CLAIM_BACKFILL, &format!("{} {}", reached.position.get(), reached.rules))
}

fn read_meta(connection: &Connection, name: &str) -> Result<Option<String>, SqliteError> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    Ok(connection.query_row(sql, [name], |row| row.get(0)).optional()?)
}

fn write_meta(connection: &mut Connection, name: &str, value: &str) -> Result<(), SqliteError> {
    let transaction = begin(connection)?;
    let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
    transaction.execute(sql, params![name, value])?;
    Ok(transaction.commit()?)
}
