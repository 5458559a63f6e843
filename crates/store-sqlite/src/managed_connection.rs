//! A connection that is opened on first use and reopened after an error that may have broken it. The writer's
//! connection also maintains the write-ahead log (WAL).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::connection::{ConnectionRole, connect};
use crate::database_file::{BUSY_TIMEOUT, DatabaseFile};
use crate::error::SqliteError;

/// The WAL is checkpointed when it has this many new pages of 4 KiB. Claims are random, so each batch changes
/// other pages; a higher limit avoids writing some pages twice (compared with 4000: a fifth of all bytes),
/// but lets the WAL grow.
const CHECKPOINT_PAGES: i64 = 16_000;
/// The WAL is truncated this long after the first write to it, so that a data key that was destroyed in the
/// database file does not survive in an old page of the WAL. An active reader delays the truncation by the
/// same time again.
const WAL_TRUNCATE_DELAY: Duration = Duration::from_secs(5);

/// A connection that reopens itself.
pub(crate) struct ManagedConnection {
    file: Arc<DatabaseFile>,
    role: ConnectionRole,
    connection: Option<Connection>,
    truncate_at: Option<Instant>,
}

impl ManagedConnection {
    /// A connection that is opened on first use.
    pub(crate) fn new(file: Arc<DatabaseFile>, role: ConnectionRole) -> Self {
        Self { file, role, connection: None, truncate_at: None }
    }

    /// Runs `work`. A transaction that `work` leaves open is rolled back.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        self.run_within(BUSY_TIMEOUT, work)
    }

    /// Like [`ManagedConnection::run`], waiting for the write lock of another process no longer than
    /// `busy_timeout`.
    pub(crate) fn run_within<T>(
        &mut self,
        busy_timeout: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        self.file.check_not_replaced()?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.file, self.role)?,
        };
        connection.busy_timeout(busy_timeout)?;
        let connection = self.connection.insert(connection);
        let outcome = work(connection);
        let rollback_failed = !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err();
        if rollback_failed || outcome.as_ref().is_err_and(SqliteError::breaks_connection) {
            self.disconnect();
        }
        outcome
    }

    /// Closes the connection; the next job reopens it.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// The time by which [`ManagedConnection::maintain_wal`] must be called.
    pub(crate) fn next_maintenance(&self) -> Option<Instant> {
        self.truncate_at
    }

    /// Called after each job of the writer and at [`ManagedConnection::next_maintenance`].
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
            // Nothing is lost: the WAL contains every commit and only grows until this succeeds.
            self.truncate_at = Some(Instant::now() + WAL_TRUNCATE_DELAY);
            let error = failure.into_store_error(&self.file);
            tracing::warn!(%error, "checkpointing the write-ahead log failed; retrying");
        }
    }

    /// Checkpoints the whole WAL and truncates it to zero bytes, unless a reader still uses it.
    pub(crate) fn truncate_wal(&mut self) -> Result<(), SqliteError> {
        let emptied =
            self.run_within(Duration::ZERO, |connection| Ok(checkpoint(connection, "TRUNCATE")?.pages == 0))?;
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

/// The number of pages in the WAL.
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
