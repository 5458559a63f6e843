//! A connection that stays usable: opened when it is first needed, and anew after a failure that may have broken it.
//! The writer's session also tends the write-ahead log (WAL).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::connection::{ConnectionRole, connect};
use crate::database_file::{BUSY_TIMEOUT, DatabaseFile};
use crate::error::SqliteError;

/// The WAL is moved into the database file from this many pages of 4 KiB on. Claims are random, so each batch changes
/// other pages; waiting for more of them saves writing some twice (measured against 4000: a fifth of all bytes), but
/// lets the WAL grow.
const CHECKPOINT_PAGES: i64 = 16_000;
/// The WAL is emptied this long after the first write to it, so that a key which was destroyed in the database file
/// does not live on in an old page of the WAL. A reader in the way delays it by as much again.
const WAL_TRUNCATE_DELAY: Duration = Duration::from_secs(5);

/// A connection that stays usable.
pub(crate) struct ManagedConnection {
    file: Arc<DatabaseFile>,
    role: ConnectionRole,
    connection: Option<Connection>,
    truncate_at: Option<Instant>,
}

impl ManagedConnection {
    /// A session that is not connected yet.
    pub(crate) fn new(file: Arc<DatabaseFile>, role: ConnectionRole) -> Self {
        Self { file, role, connection: None, truncate_at: None }
    }

    /// Runs `work`, which should leave no transaction behind; one that it does leave is rolled back.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        self.file.check_not_replaced()?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.file, self.role)?,
        };
        let connection = self.connection.insert(connection);
        let outcome = work(connection);
        let stuck = !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err();
        if stuck || outcome.as_ref().is_err_and(SqliteError::breaks_connection) {
            self.disconnect();
        }
        outcome
    }

    /// Closes the connection; the next job opens a new one.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// When [`ManagedConnection::maintain_wal`] wants to be called, at the latest.
    pub(crate) fn next_maintenance(&self) -> Option<Instant> {
        self.truncate_at
    }

    /// Called after each job of the writer, and when [`ManagedConnection::next_maintenance`].
    pub(crate) fn maintain_wal(&mut self) {
        if self.role == ConnectionRole::Reader || self.connection.is_none() {
            self.truncate_at = None;
            return;
        }
        let tended = match self.truncate_at {
            Some(at) if at <= Instant::now() => self.truncate_wal(),
            _ => self.checkpoint_if_large(),
        };
        if let Err(failure) = tended {
            // Nothing is lost: the WAL holds every commit, and only grows until this works again.
            self.truncate_at = Some(Instant::now() + WAL_TRUNCATE_DELAY);
            tracing::warn!(error = %failure.into_store_error(&self.file), "the write-ahead log could not be checkpointed");
        }
    }

    /// Moves what the WAL holds into the database file and cuts the WAL to nothing, unless somebody still reads it.
    pub(crate) fn truncate_wal(&mut self) -> Result<(), SqliteError> {
        let emptied = self.run(|connection| {
            connection.busy_timeout(Duration::ZERO)?;
            let emptied = checkpoint(connection, "TRUNCATE");
            connection.busy_timeout(BUSY_TIMEOUT)?;
            emptied.map(|wal| wal.pages == 0)
        })?;
        self.truncate_at = (!emptied).then(|| Instant::now() + WAL_TRUNCATE_DELAY);
        Ok(())
    }

    fn checkpoint_if_large(&mut self) -> Result<(), SqliteError> {
        let wal = self.run(|connection| checkpoint(connection, "NOOP"))?;
        if wal.pages > 0 && self.truncate_at.is_none() {
            self.truncate_at = Some(Instant::now() + WAL_TRUNCATE_DELAY);
        }
        if wal.pages - wal.checkpointed >= CHECKPOINT_PAGES {
            self.run(|connection| checkpoint(connection, "PASSIVE"))?;
        }
        Ok(())
    }
}

/// What the WAL holds.
struct WalStatus {
    pages: i64,
    checkpointed: i64,
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<WalStatus, SqliteError> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    let wal =
        statement.query_row([], |row| Ok(WalStatus { pages: row.get(1)?, checkpointed: row.get(2)? }))?;
    Ok(wal)
}
