//! Making the tables. Columns are named as in the stored envelope that `docs/` describes, the same in every backend.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use store::StoreError;
use store::backend::{Genesis, Head};
use store::rotation::{CLAIMS, SIGNING};
use uuid::Uuid;

use crate::commit::write_head;
use crate::connection::{check_format, stored_format};
use crate::database_file::DatabaseFile;
use crate::error::SqliteError;
use crate::keys::service_keys;

/// What the log, the vault and the checkpoints are kept in.
pub(crate) const TABLES: [&str; 12] = [
    "meta",
    "keys",
    "head",
    "events",
    "vault",
    "claims",
    "idempotency",
    "checkpoints",
    "read_models",
    "leases",
    "delivery_progress",
    "delivery_attempts",
];

/// What a database of format 1 has. Every statement changes nothing if it was run before.
///
/// `at` is in milliseconds since the Unix epoch, UTC. `events.data` is canonical JSON (RFC 8785). `vault.erased` is 1
/// exactly when the key was destroyed. `delivery_progress.state` and `delivery_attempts.report` are JSON. The triggers guard against slips with other tools; against intent, the signed
/// head does.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS keys (
    name TEXT PRIMARY KEY,
    wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    root BLOB NOT NULL,
    frontier BLOB NOT NULL,
    note TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    schema INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT NOT NULL,
    data TEXT NOT NULL,
    sealed BLOB,
    leaf BLOB NOT NULL,
    UNIQUE (stream, version)
) STRICT;
CREATE INDEX IF NOT EXISTS events_type ON events (type);
CREATE INDEX IF NOT EXISTS events_actor ON events (actor);
CREATE TRIGGER IF NOT EXISTS events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER IF NOT EXISTS events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;

CREATE TABLE IF NOT EXISTS vault (
    stream TEXT PRIMARY KEY,
    key BLOB,
    erased INTEGER NOT NULL CHECK (erased = (key IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS claims (
    claim BLOB PRIMARY KEY,
    stream TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_stream ON claims (stream);

CREATE TABLE IF NOT EXISTS idempotency (
    key BLOB PRIMARY KEY,
    request BLOB NOT NULL,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_at ON idempotency (at);

CREATE TABLE IF NOT EXISTS delivery_progress (
    stream TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS delivery_attempts (
    stream TEXT NOT NULL,
    number INTEGER NOT NULL,
    report TEXT NOT NULL,
    PRIMARY KEY (stream, number)
) STRICT, WITHOUT ROWID;
";

/// What is known of read models, which may exist before the log does: how far each table is, which versions there are
/// (JSON), and who works on them (`until` in milliseconds since the Unix epoch).
pub(crate) const READ_MODELS: &str = "
CREATE TABLE IF NOT EXISTS checkpoints (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    rebuilds INTEGER NOT NULL,
    digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS read_models (
    name TEXT PRIMARY KEY,
    versions TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until INTEGER NOT NULL,
    report TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Creates what is missing. Of several processes that do so at once, one genesis wins whole.
pub(crate) fn migrate(
    connection: &mut Connection,
    genesis: &Genesis,
    file: &DatabaseFile,
) -> Result<Genesis, SqliteError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let format = stored_format(&transaction)?;
    match &format {
        Some(format) => check_format(format, file)?,
        None if has_events(&transaction)? => {
            return Err(StoreError::Refused(format!(
                "{file} has events but does not say in which format (`meta` is missing): restore it from a backup, or \
                 name another file. Nothing was changed"
            ))
            .into());
        }
        None => {}
    }
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
        let value = transaction.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0));
        let value: Option<String> = value.optional()?;
        value.ok_or_else(|| SqliteError::corrupt(format!("`meta` has no `{name}`")))
    };
    let mut keys = service_keys(transaction)?;
    let mut key =
        |name: &str| keys.remove(name).ok_or_else(|| SqliteError::corrupt(format!("`keys` has no `{name}`")));
    let invalid = |name: &str| SqliteError::corrupt(format!("`{name}` in `meta` is not what it should be"));
    Ok(Genesis {
        format: meta("format")?.parse().map_err(|_| invalid("format"))?,
        log_id: Uuid::parse_str(&meta("log_id")?).map_err(|_| invalid("log_id"))?,
        claim_key: key(CLAIMS)?,
        signing_key: key(SIGNING)?,
    })
}
