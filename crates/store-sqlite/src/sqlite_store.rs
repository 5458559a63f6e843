//! [`SqliteStore`]: the threads, connections and file behind every port.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use store::{ProgressTracker, StoreError};

use crate::commit_marker::CommitMarker;
use crate::connection::ConnectionRole;
use crate::database_file::{BUSY_TIMEOUT, DatabaseFile};
use crate::error::SqliteError;
use crate::foreign_objects::reject_foreign_objects;
use crate::job_queue::Priority;
use crate::managed_connection::ManagedConnection;
use crate::session_renewals::Renewals;
use crate::watch::{self, ProgressWatcher};
use crate::worker_pool::WorkerPool;

/// Number of reading threads. Each has its own connection, so reads never wait for the writer.
const READERS: usize = 4;

/// How long a write that is no append waits for the write lock of another process before appends get their
/// turn.
const LOCK_ATTEMPT: Duration = Duration::from_millis(100);

/// A log and read models in one SQLite file.
///
/// Calls run on the store's own threads, so they need no particular async runtime and block none. A queued
/// write completes even if its caller is cancelled. Dropping the store completes the queued writes, ends the
/// threads and closes the file.
pub struct SqliteStore {
    // Fields drop in this order. The writer closes the file last, which merges the `-wal` into it and removes
    // it.
    _watch: ProgressWatcher,
    pub(crate) readers: WorkerPool,
    pub(crate) writer: WorkerPool,
    pub(crate) tracker: Arc<ProgressTracker>,
    pub(crate) file: Arc<DatabaseFile>,
    pub(crate) renewals: Arc<Renewals>,
    pub(crate) marker: CommitMarker,
}

impl SqliteStore {
    /// Opens the database. A missing file is created with mode 0600, as are its `-wal` and `-shm`; the folder
    /// must exist. [`Backend::migrate`](store::Backend::migrate) creates the tables.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the path cannot be an Aegis database: a folder, another kind of file, a
    /// file without write permission, or a database of another program. The file is left unchanged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = Arc::new(DatabaseFile::open(path)?);
        let tracker = Arc::new(ProgressTracker::default());
        let mut writer = ManagedConnection::new(Arc::clone(&file), ConnectionRole::Writer);
        let opened = writer
            .run(|connection| watch::read_snapshot(connection))
            .map_err(|error| error.into_open_error(&file));
        opened?.publish(&tracker);
        let marker = CommitMarker::open(Arc::clone(&file)).map_err(|error| error.into_open_error(&file))?;
        let reader = || ManagedConnection::new(Arc::clone(&file), ConnectionRole::Reader);
        Ok(Self {
            _watch: ProgressWatcher::start(reader(), Arc::clone(&tracker))?,
            readers: WorkerPool::start("sqlite-reader", (0..READERS).map(|_| reader()).collect())?,
            writer: WorkerPool::start("sqlite-writer", vec![writer])?,
            tracker,
            file,
            renewals: Arc::default(),
            marker,
        })
    }

    /// Checks that the database can be read, is still the file that was opened, and has no objects of other
    /// programs.
    ///
    /// # Errors
    /// [`StoreError`] naming the problem.
    pub async fn ready(&self) -> Result<(), StoreError> {
        let file = Arc::clone(&self.file);
        self.read(move |connection| reject_foreign_objects(connection, &file)).await
    }

    /// Runs `work` on a reading connection in one transaction, so everything it reads is from one snapshot.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let in_transaction = |connection: &mut Connection| work(&*connection.transaction()?);
        let outcome =
            self.readers.run_unless_cancelled(move |connection| connection.run(in_transaction)).await?;
        outcome.map_err(|error| error.into_store_error(&self.file))
    }

    /// Runs `work` on the writing connection. While another process holds the write lock it is called again
    /// and again, so that appends go first.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Connection) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + BUSY_TIMEOUT;
        let attempt = move |session: &mut ManagedConnection| {
            let outcome = session.run_within(LOCK_ATTEMPT, &mut work);
            let gives_way = outcome.as_ref().is_err_and(SqliteError::is_locked_out);
            (!gives_way || Instant::now() >= deadline).then_some(outcome)
        };
        let outcome = self.writer.run(Priority::Normal, attempt).await?;
        outcome.map_err(|error| error.into_store_error(&self.file))
    }
}
