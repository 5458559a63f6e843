//! Opens connections. These settings apply to the connection only, except for WAL mode, which is stored in
//! the file.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension};
use store::backend::FORMAT;
use store::{Corruption, RefusalReason, StoreError};

use crate::database_file::{BUSY_TIMEOUT, DatabaseFile};
use crate::error::SqliteError;

/// Enough for every statement of this crate, so that none is parsed twice.
const STATEMENT_CACHE_CAPACITY: usize = 64;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRole {
    /// Writes, and is the only connection that checkpoints the WAL.
    Writer,
    /// Reads only.
    Reader,
}

/// Opens a connection to the file.
pub(crate) fn connect(file: &DatabaseFile, role: ConnectionRole) -> Result<Connection, SqliteError> {
    // No mutex: each connection is used by one thread at a time. Readers are opened for writing too, because
    // the first connection after a crash has to rebuild the shared memory.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file.path(), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE_CAPACITY);
    // Temporary storage may contain personal data, so it stays in memory.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    harden(&connection)?;
    // `ManagedConnection` checkpoints the WAL.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    match role {
        ConnectionRole::Writer => configure_writer(&connection, file)?,
        ConnectionRole::Reader => {
            connection.pragma_update(None, "query_only", true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
    }
    Ok(connection)
}

/// A program that can write to the file can change its schema. Triggers and views are not needed here: those
/// of the schema guard against accidents with other tools.
fn harden(connection: &Connection) -> Result<(), SqliteError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    Ok(())
}

fn configure_writer(connection: &Connection, file: &DatabaseFile) -> Result<(), SqliteError> {
    reject_foreign_database(connection, file)?;
    if connection.is_readonly(MAIN_DB)? {
        // Without write permission, SQLite silently opens the file read-only.
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        return Err(rusqlite::Error::SqliteFailure(code, None).into());
    }
    enable_wal(connection, file)?;
    // Every commit is synced to disk before it is acknowledged.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Overwrites deleted content with zeros: a destroyed data key must not survive in a free page
    // (crypto-shredding).
    connection.pragma_update(None, "secure_delete", true)?;
    // No foreign keys are declared: the commit planner checks every write beforehand.
    connection.pragma_update(None, "foreign_keys", false)?;
    // 16 MiB hold the pages that a full batch changes, so that no page is written twice.
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    // Limits the size of the WAL file after a burst.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    Ok(())
}

/// Refuses databases of other programs and of newer versions before anything is changed in them.
fn reject_foreign_database(connection: &Connection, file: &DatabaseFile) -> Result<(), SqliteError> {
    let count = |names: &str| {
        let sql = format!("SELECT count(*) FROM sqlite_schema WHERE type = 'table' {names}");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0))
    };
    let foreign = count("")? > 0 && count("AND name IN ('meta', 'events', 'checkpoints')")? == 0;
    if foreign {
        return Err(StoreError::from(RefusalReason::ForeignDatabase { database: file.to_string() }).into());
    }
    if let Some(format) = stored_format(connection)? {
        check_format(&format, file)?;
    }
    Ok(())
}

/// The stored format version; `None` for a database without a log.
pub(crate) fn stored_format(connection: &Connection) -> Result<Option<String>, SqliteError> {
    let found = connection.query_row("SELECT value FROM meta WHERE name = 'format'", [], |row| row.get(0));
    match found.optional().map_err(SqliteError::from) {
        Err(failure) if failure.is_missing_table() => Ok(None),
        found => found,
    }
}

/// Checks that this version supports the format.
pub(crate) fn check_format(stored: &str, file: &DatabaseFile) -> Result<(), StoreError> {
    match stored.parse::<u32>() {
        Ok(format) if (1..=FORMAT).contains(&format) => Ok(()),
        Ok(format) => {
            Err(RefusalReason::NewerFormat { database: file.to_string(), found: format, supported: FORMAT }
                .into())
        }
        Err(_) => {
            Err(Corruption::field(file.to_string(), "format", format!("a number but `{stored}`")).into())
        }
    }
}

/// Retries, because SQLite does not honour the busy timeout when two processes enable WAL mode on a new file.
fn enable_wal(connection: &Connection, file: &DatabaseFile) -> Result<(), SqliteError> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    let mode: String = loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(5));
            }
            mode => break mode?,
        }
    };
    if mode == "wal" {
        return Ok(());
    }
    Err(StoreError::from(RefusalReason::NetworkFileSystem { file: file.to_string() }).into())
}
