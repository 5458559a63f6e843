//! The SQL schema. Columns are named as in the stored envelope that `docs/` describes, the same in every
//! backend.

use rusqlite::Connection;

use crate::error::SqliteError;

/// Tables that must exist; the progress tracker reports when one is dropped.
pub(crate) const TABLES: [&str; 13] = [
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
    "sessions",
];

/// The schema of format 1. Every statement is idempotent.
///
/// `at` is in milliseconds since the Unix epoch, UTC. `events.data` is canonical JSON (RFC 8785).
/// `vault.erased` is 1 exactly when the data key was destroyed. `delivery_progress.state` and
/// `delivery_attempts.report` are JSON, as are `sessions.grant` and `sessions.rotation`. The triggers guard against accidents with other tools; the signed
/// head guards against tampering.
pub(crate) const SCHEMA: &str = r#"
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

CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    stream TEXT NOT NULL,
    "grant" TEXT NOT NULL,
    generation INTEGER NOT NULL,
    rotation TEXT NOT NULL,
    renewed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_renewed_at ON sessions (stream, renewed_at);
CREATE INDEX IF NOT EXISTS sessions_expires_at ON sessions (expires_at);
"#;

/// Indexes of earlier versions, which others have replaced.
pub(crate) const REPLACED_INDEXES: &str = "DROP INDEX IF EXISTS sessions_stream;";

/// The schema of read models, which may exist before the log does: checkpoints, versions (JSON) and leases
/// (`until` in milliseconds since the Unix epoch).
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

/// The schema of the tiles, which are created with the first one. `tile` is `level << 48 | index`.
pub(crate) const TILES: &str =
    "CREATE TABLE IF NOT EXISTS tiles (tile INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT";

/// Whether a table exists.
pub(crate) fn table_exists(connection: &Connection, table: &str) -> Result<bool, SqliteError> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(connection.prepare_cached(sql)?.exists([table])?)
}
