//! The embedded backend: one SQLite file in WAL mode holds the log, the vault and the read models. Several processes
//! may share the file, such as a server and its command line.
//!
//! In the order in which a commit passes through: [`SqliteStore`] is the door; `workers` hands the job to the thread
//! that owns the writing connection; `session` keeps that connection usable, opened by `connection` on the file that
//! `file` guards; `commit` runs the transaction, with `facts` and `envelope`; `watch` tells those who follow. Beside
//! that way: `migrate` makes the tables, `events` answers queries of the log, `tiles` keeps what proves it, `keys` is there for rotations, `rows` holds read models, `leases` says who works on them, `failure` puts
//! SQLite's errors into words.
//!
//! What does not belong here: deciding. What may be written is judged by [`store::judge`], the same for every backend.

mod commit;
mod connection;
mod deliveries;
mod envelope;
mod events;
mod facts;
mod failure;
mod file;
mod idempotency;
mod keys;
mod leases;
mod migrate;
mod rows;
mod session;
#[cfg(test)]
mod tests;
mod tiles;
mod watch;
mod workers;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use store::backend::{Backend, CommitError, EventQuery, Genesis, Head, Held, VaultEntry, Verdict};
use store::judge::Batch;
use store::vault::ClaimHash;
use store::{Envelope, FirstResult, Signal, SignalBoard, StoreError, StreamId};
use tokio::sync::watch::Receiver;

use crate::connection::{Role, stored_format};
use crate::failure::Failure;
use crate::file::DatabaseFile;
use crate::session::Session;
use crate::watch::Watch;
use crate::workers::Workers;

/// How many reads run at once. Each has a connection of its own, so none waits for a writer.
const READERS: usize = 4;

/// A log and read models in one SQLite file.
///
/// All calls run on threads of the store's own, so they need no particular async runtime and block none. A write that
/// was handed over is finished even if nobody waits for it any more. Dropping the store finishes what was handed over,
/// ends the threads and closes the file.
pub struct SqliteStore {
    // In the order in which they end: the writer closes the file last and leaves it whole, without a `-wal` beside it.
    _watch: Watch,
    readers: Workers,
    writer: Workers,
    board: Arc<SignalBoard>,
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
        let board = Arc::new(SignalBoard::default());
        let mut writer = Session::new(Arc::clone(&file), Role::Writer);
        let opened =
            writer.run(|connection| watch::read_news(connection)).map_err(|failure| failure.refused(&file));
        opened?.post(&board);
        let reader = || Session::new(Arc::clone(&file), Role::Reader);
        Ok(Self {
            _watch: Watch::start(reader(), Arc::clone(&board))?,
            readers: Workers::start("sqlite-reader", (0..READERS).map(|_| reader()).collect())?,
            writer: Workers::start("sqlite-writer", vec![writer])?,
            board,
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
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let whole = |connection: &mut Connection| work(&*connection.transaction()?);
        let outcome = self.readers.run_if_awaited(move |session| session.run(whole)).await?;
        outcome.map_err(|failure| failure.explain(&self.file))
    }

    /// Runs `work` on the writing connection.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let outcome = self.writer.run(move |session| session.run(work)).await?;
        outcome.map_err(|failure| failure.explain(&self.file))
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
            self.board.rely_on(name);
        }
        Ok(stored)
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<Verdict>, CommitError> {
        let board = Arc::clone(&self.board);
        let work = move |session: &mut Session| {
            let (verdicts, head) = session.run(|connection| commit::commit(connection, &batch))?;
            board.raise_head(head);
            Ok(verdicts)
        };
        // A writer that is gone without an answer may have committed first.
        let outcome: Result<_, Failure> = self.writer.run(work).await.map_err(CommitError::Unknown)?;
        outcome.map_err(|failure| match failure {
            Failure::Unanswered(_) => CommitError::Unknown(failure.explain(&self.file)),
            Failure::Sqlite(_) | Failure::Store(_) => CommitError::NotCommitted(failure.explain(&self.file)),
        })
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.read(facts::read_head).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let query = query.clone();
        self.read(move |connection| events::read_events(connection, &query)).await
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| events::read_stream(connection, &stream, after, limit)).await
    }

    async fn vault(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, VaultEntry>, StoreError> {
        if streams.is_empty() {
            return Ok(HashMap::new());
        }
        let streams = streams.to_vec();
        self.read(move |connection| facts::read_vault(connection, &streams)).await
    }

    async fn held(&self, streams: &[StreamId]) -> Result<Vec<Held>, StoreError> {
        let streams = streams.to_vec();
        self.read(move |connection| facts::read_held(connection, &streams)).await
    }

    async fn holders(&self, after: Option<&StreamId>, limit: usize) -> Result<Vec<StreamId>, StoreError> {
        let after = after.cloned();
        self.read(move |connection| facts::read_holders(connection, after.as_ref(), limit)).await
    }

    async fn first_result(&self, key: ClaimHash) -> Result<Option<FirstResult>, StoreError> {
        self.read(move |connection| idempotency::read(connection, key)).await
    }

    fn signals(&self) -> Receiver<Signal> {
        self.board.subscribe()
    }

    fn silence(&self) -> Option<Duration> {
        self.board.silence()
    }
}
