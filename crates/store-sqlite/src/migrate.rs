//! Creates what is missing in the database: tables and the genesis of the log.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::{Value, json};
use store::backend::{FIRST_EPOCH, Genesis};
use store::head::Head;
use store::key_store::ClaimBackfill;
use store::rotation::{CLAIMS, SIGNING};
use store::{Corruption, Position, RefusalReason, StoreError, StreamId, WriteError};
use uuid::Uuid;

use crate::connection::{check_format, stored_format};
use crate::database_file::DatabaseFile;
use crate::error::SqliteError;
use crate::foreign_objects::reject_foreign_objects;
use crate::head::write_head;
use crate::key_store::service_keys;
use crate::schema::{READ_MODELS, REPLACED_INDEXES, SCHEMA};
use crate::transaction::begin;

/// The row of `meta` with the epoch of the log.
const EPOCH: &str = "epoch";
/// The row of `meta` with how far claims have been backfilled, in JSON.
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
    transaction.execute_batch(REPLACED_INDEXES)?;
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
    let transaction = begin(connection)?;
    put_meta(&transaction, EPOCH, &epoch.to_string())?;
    Ok(transaction.commit()?)
}

pub(crate) fn read_claim_backfill(connection: &Connection) -> Result<Option<ClaimBackfill>, SqliteError> {
    let Some(stored) = read_meta(connection, CLAIM_BACKFILL)? else { return Ok(None) };
    let invalid = || Corruption::invalid("`claim_backfill` in `meta`", "it has another form");
    Ok(Some(claim_backfill(&stored).ok_or_else(invalid)?))
}

fn claim_backfill(stored: &str) -> Option<ClaimBackfill> {
    let stored: Value = serde_json::from_str(stored).ok()?;
    let position = |name| stored.get(name)?.as_u64().map(Position::new);
    let stream = |stream: &Value| StreamId::new(stream.as_str()?).ok();
    Some(ClaimBackfill {
        rules: stored.get("rules")?.as_u64()?,
        position: position("position")?,
        replace_until: position("replace_until")?,
        collisions: stored.get("collisions")?.as_array()?.iter().map(stream).collect::<Option<_>>()?,
    })
}

pub(crate) fn write_claim_backfill(
    connection: &mut Connection,
    from: Option<&ClaimBackfill>,
    to: &ClaimBackfill,
) -> Result<Result<(), WriteError>, SqliteError> {
    let transaction = begin(connection)?;
    if read_claim_backfill(&transaction)?.as_ref() != from {
        return Ok(Err(WriteError::Conflict));
    }
    let ClaimBackfill { rules, position, replace_until, collisions } = to;
    let collisions: Vec<_> = collisions.iter().map(StreamId::as_str).collect();
    let value = json!({ "rules": rules, "position": position.get(), "replace_until": replace_until.get(),
        "collisions": collisions });
    put_meta(&transaction, CLAIM_BACKFILL, &value.to_string())?;
    transaction.commit()?;
    Ok(Ok(()))
}

fn read_meta(connection: &Connection, name: &str) -> Result<Option<String>, SqliteError> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    Ok(connection.query_row(sql, [name], |row| row.get(0)).optional()?)
}

fn put_meta(connection: &Connection, name: &str, value: &str) -> Result<(), SqliteError> {
    let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
    connection.execute(sql, params![name, value])?;
    Ok(())
}
