//! A connection that stays usable: opened when it is first needed, and anew after a failure that may have broken it.
//! The writer's session also tends the write-ahead log (WAL).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::connection::{BUSY_TIMEOUT, Role, connect};
use crate::failure::Failure;
use crate::file::DatabaseFile;

/// The WAL is moved into the database file from this many pages of 4 KiB on. Claims are random, so each batch changes
/// other pages; waiting for more of them saves writing some twice (measured against 4000: a fifth of all bytes), but
/// lets the WAL grow.
const MOVE_PAGES: i64 = 16_000;
/// The WAL is emptied this long after the first write to it, so that a key which was destroyed in the database file
/// does not live on in an old page of the WAL. A reader in the way delays it by as much again.
const EMPTY_AFTER: Duration = Duration::from_secs(5);

/// A connection that stays usable.
pub(crate) struct Session {
    file: Arc<DatabaseFile>,
    role: Role,
    connection: Option<Connection>,
    empty_at: Option<Instant>,
}

impl Session {
    /// A session that is not connected yet.
    pub(crate) fn new(file: Arc<DatabaseFile>, role: Role) -> Self {
        Self { file, role, connection: None, empty_at: None }
    }

    /// Runs `work`, which should leave no transaction behind; one that it does leave is rolled back.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.file.check_in_place()?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.file, self.role)?,
        };
        let connection = self.connection.insert(connection);
        let outcome = work(connection);
        let stuck = !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err();
        if stuck || outcome.as_ref().is_err_and(Failure::breaks_connection) {
            self.disconnect();
        }
        outcome
    }

    /// Closes the connection; the next job opens a new one.
    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// When [`Session::tend`] wants to be called, at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.empty_at
    }

    /// Called after each job of the writer, and when [`Session::due`].
    pub(crate) fn tend(&mut self) {
        if self.role == Role::Reader || self.connection.is_none() {
            self.empty_at = None;
            return;
        }
        let tended = match self.empty_at {
            Some(at) if at <= Instant::now() => self.empty_wal(),
            _ => self.move_wal(),
        };
        if let Err(failure) = tended {
            // Nothing is lost: the WAL holds every commit, and only grows until this works again.
            self.empty_at = Some(Instant::now() + EMPTY_AFTER);
            tracing::warn!(error = %failure.explain(&self.file), "the write-ahead log could not be checkpointed");
        }
    }

    /// Moves what the WAL holds into the database file and cuts the WAL to nothing, unless somebody still reads it.
    pub(crate) fn empty_wal(&mut self) -> Result<(), Failure> {
        let emptied = self.run(|connection| {
            connection.busy_timeout(Duration::ZERO)?;
            let emptied = checkpoint(connection, "TRUNCATE");
            connection.busy_timeout(BUSY_TIMEOUT)?;
            emptied.map(|wal| wal.pages == 0)
        })?;
        self.empty_at = (!emptied).then(|| Instant::now() + EMPTY_AFTER);
        Ok(())
    }

    fn move_wal(&mut self) -> Result<(), Failure> {
        let wal = self.run(|connection| checkpoint(connection, "NOOP"))?;
        if wal.pages > 0 && self.empty_at.is_none() {
            self.empty_at = Some(Instant::now() + EMPTY_AFTER);
        }
        if wal.pages - wal.moved >= MOVE_PAGES {
            self.run(|connection| checkpoint(connection, "PASSIVE"))?;
        }
        Ok(())
    }
}

/// What the WAL holds.
struct Wal {
    pages: i64,
    moved: i64,
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<Wal, Failure> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    let wal = statement.query_row([], |row| Ok(Wal { pages: row.get(1)?, moved: row.get(2)? }))?;
    Ok(wal)
}
