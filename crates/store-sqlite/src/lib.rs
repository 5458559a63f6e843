//! The embedded backend: one SQLite file in WAL mode holds the log, the vault and the read models. Several processes
//! may share the file, such as a server and its command line.
//!
//! In the order in which a commit passes through: [`SqliteStore`] is the door; `workers` hands the job to the thread
//! that owns the writing connection; `session` keeps that connection usable, opened by `connection` on the file that
//! `file` guards; `commit` runs the transaction, with `facts` and `envelope`; `watch` tells those who follow. Beside
//! that way: `migrate` makes the tables, `events` answers queries of the log, `tiles` keeps what proves it, `keys` is there for rotations, `rows` holds read models, `leases` says who works on them, `failure` puts
//! SQLite's errors into words.
//!
//! What does not belong here: deciding. What may be written is judged by [`store::commit_planner`], the same for every backend.

mod commit;
mod connection;
mod database_file;
mod deliveries;
mod error;
mod event_row;
mod events;
mod idempotency;
mod keys;
mod leases;
mod managed_connection;
mod migrate;
mod preconditions;
mod rows;
#[cfg(test)]
mod tests;
mod tiles;
mod watch;
mod worker_pool;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use store::backend::{
    AppendResult, Backend, CommitError, EventQuery, Genesis, Head, KeyEntry, StreamKeyEntry,
};
use store::commit_planner::Batch;
use store::key_store::ClaimHash;
use store::{Envelope, ProgressTracker, RecordedResult, StoreError, StoreProgress, StreamId};
use tokio::sync::watch::Receiver;

use crate::connection::{ConnectionRole, stored_format};
use crate::database_file::DatabaseFile;
use crate::error::SqliteError;
use crate::managed_connection::ManagedConnection;
use crate::watch::ProgressWatcher;
use crate::worker_pool::WorkerPool;

/// How many reads run at once. Each has a connection of its own, so none waits for a writer.
const READERS: usize = 4;

/// A log and read models in one SQLite file.
///
/// All calls run on threads of the store's own, so they need no particular async runtime and block none. A write that
/// was handed over is finished even if nobody waits for it any more. Dropping the store finishes what was handed over,
/// ends the threads and closes the file.
pub struct SqliteStore {
    // In the order in which they end: the writer closes the file last and leaves it whole, without a `-wal` beside it.
    _watch: ProgressWatcher,
    readers: WorkerPool,
    writer: WorkerPool,
    tracker: Arc<ProgressTracker>,
    file: Arc<DatabaseFile>,
}

impl SqliteStore {
    /// Opens the database, first making the file if there is none: readable by its owner alone (mode 0600), its `-wal`
    /// and `-shm` too. Its folder must exist. The tables are made by [`Backend::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Refused`] if this can be no database of Aegis: a folder, another kind of file, one that may not
    /// be written, or a database of another program. Nothing is changed then.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = Arc::new(DatabaseFile::open(path)?);
        let tracker = Arc::new(ProgressTracker::default());
        let mut writer = ManagedConnection::new(Arc::clone(&file), ConnectionRole::Writer);
        let opened = writer
            .run(|connection| watch::read_snapshot(connection))
            .map_err(|failure| failure.into_open_error(&file));
        opened?.publish(&tracker);
        let reader = || ManagedConnection::new(Arc::clone(&file), ConnectionRole::Reader);
        Ok(Self {
            _watch: ProgressWatcher::start(reader(), Arc::clone(&tracker))?,
            readers: WorkerPool::start("sqlite-reader", (0..READERS).map(|_| reader()).collect())?,
            writer: WorkerPool::start("sqlite-writer", vec![writer])?,
            tracker,
            file,
        })
    }

    /// Whether the database can be read, and is still the file that was opened.
    ///
    /// # Errors
    /// [`StoreError`] that says what is wrong with it.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.read(|connection| Ok(connection.query_row("PRAGMA schema_version", [], |_| Ok(()))?)).await
    }

    /// Runs `work` on a reading connection, within one transaction: all that it reads belongs to one state of the log.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let whole = |connection: &mut Connection| work(&*connection.transaction()?);
        let outcome = self.readers.run_unless_cancelled(move |session| session.run(whole)).await?;
        outcome.map_err(|failure| failure.into_store_error(&self.file))
    }

    /// Runs `work` on the writing connection.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let outcome = self.writer.run(move |session| session.run(work)).await?;
        outcome.map_err(|failure| failure.into_store_error(&self.file))
    }
}

#[async_trait]
impl Backend for SqliteStore {
    async fn exists(&self) -> Result<bool, StoreError> {
        self.read(|connection| Ok(stored_format(connection)?.is_some())).await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        let (genesis, file) = (genesis.clone(), Arc::clone(&self.file));
        let stored = self.write(move |connection| migrate::migrate(connection, &genesis, &file)).await?;
        for name in migrate::TABLES {
            self.tracker.watch(name);
        }
        Ok(stored)
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        let tracker = Arc::clone(&self.tracker);
        let work = move |session: &mut ManagedConnection| {
            let (results, head) = session.run(|connection| commit::commit(connection, &batch))?;
            tracker.advance_head(head);
            Ok(results)
        };
        // A writer that is gone without an answer may have committed first.
        let outcome: Result<_, SqliteError> = self.writer.run(work).await.map_err(CommitError::Unknown)?;
        outcome.map_err(|failure| match failure {
            SqliteError::UnknownCommit(_) => CommitError::Unknown(failure.into_store_error(&self.file)),
            SqliteError::Sqlite(_) | SqliteError::Store(_) => {
                CommitError::NotCommitted(failure.into_store_error(&self.file))
            }
        })
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.read(preconditions::read_head).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let query = query.clone();
        self.read(move |connection| events::read_events(connection, &query)).await
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| events::read_stream(connection, &stream, after, limit)).await
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        if streams.is_empty() {
            return Ok(HashMap::new());
        }
        let streams = streams.to_vec();
        self.read(move |connection| preconditions::read_vault(connection, &streams)).await
    }

    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError> {
        let streams = streams.to_vec();
        self.read(move |connection| preconditions::read_held(connection, &streams)).await
    }

    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let after = after.cloned();
        self.read(move |connection| preconditions::read_holders(connection, after.as_ref(), limit)).await
    }

    async fn recorded_result(&self, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError> {
        self.read(move |connection| idempotency::read(connection, key)).await
    }

    fn watch_progress(&self) -> Receiver<StoreProgress> {
        self.tracker.subscribe()
    }

    fn since_heartbeat(&self) -> Option<Duration> {
        self.tracker.since_heartbeat()
    }
}
