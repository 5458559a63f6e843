//! The MongoDB backend of the event store and of the read models: a replica set or a sharded cluster, through
//! transactions with snapshot reads and majority, journalled writes.
//!
//! `connect` says how the server is spoken to; `migrate` makes a database; `commit` runs a batch in the loop of
//! `transaction`, with what `facts` reads; `orphans` clears away what crashed processes leave open; `find` reads outside
//! of transactions, and `seen` keeps all reads from going back in time; `log` reads events back by one of the `indexes`,
//! `tiles` keeps what proves them; `keys` is there for rotations; `preparing`, `rows`, `clearing` and `versions` keep read models; `deliveries` says how far subscribers are; `watch` wakes whoever follows. `document` is the only place that knows how
//! an event looks in BSON, `row_document` the same for rows, `failure` the only one that reads the driver's errors.
//!
//! What does not belong here: deciding what may be written. That is [`store::commit_planner`]'s, the same for every backend.

mod abandoned_transactions;
mod causal_token;
mod commit;
mod connection;
mod deliveries;
mod detached;
mod document_reader;
mod error;
mod event_document;
mod find;
mod idempotency;
mod indexes;
mod keys;
mod leases;
mod log;
mod migrate;
mod preconditions;
mod row_document;
mod rows;
mod table_reset;
mod table_setup;
mod tiles;
mod transaction;
mod versions;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use store::backend::{AppendResult, CommitError, Genesis, KeyEntry, StreamKeyEntry};
use store::commit_planner::Batch;
use store::key_store::ClaimHash;
use store::{
    Backend, Envelope, EventQuery, Head, ProgressTracker, RecordedResult, RetryCounter, StoreError,
    StoreProgress, StreamId,
};
use tokio::sync::watch::Receiver;

use crate::connection::Connection;
use crate::detached::{REQUEST_TIMEOUT, SCAN_TIMEOUT, spawn_detached, spawn_with_timeout};

/// A log and read models in a MongoDB database. Clones share connections and progress.
#[derive(Clone)]
pub struct MongoStore {
    connection: Connection,
    tracker: Arc<ProgressTracker>,
    watching: Arc<AtomicBool>,
}

impl MongoStore {
    /// A store in `database` on the server that `url` names (`mongodb://…` or `mongodb+srv://…`). The server is not
    /// contacted: that happens in [`Backend::migrate`], which may be repeated until it works.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the URL or the database name cannot be one; [`StoreError::Unavailable`] if the DNS
    /// records of a `mongodb+srv` URL cannot be had.
    pub async fn new(url: &str, database: &str) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Connection::new(url, database).await?,
            tracker: Arc::default(),
            watching: Arc::default(),
        })
    }

    /// Starts to follow what other processes write, once.
    fn watch(&self) {
        if !self.watching.swap(true, Ordering::AcqRel) {
            watch::start(self.connection.watched.clone(), &self.tracker);
        }
    }
}

#[async_trait]
impl Backend for MongoStore {
    async fn exists(&self) -> Result<bool, StoreError> {
        let connection = self.connection.clone();
        spawn_with_timeout(
            "looking for a log",
            REQUEST_TIMEOUT,
            async move { migrate::exists(&connection).await },
        )
        .await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        let (connection, genesis) = (self.connection.clone(), genesis.clone());
        let stored = spawn_detached(async move { migrate::migrate(&connection, &genesis).await }).await?;
        for name in migrate::COLLECTIONS {
            self.tracker.watch(name);
        }
        self.watch();
        Ok(stored)
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        let committed = commit::commit(&self.connection.work, batch).await?;
        self.tracker.advance_head(committed.head);
        Ok(committed.results)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout(
            "reading the head of the log",
            REQUEST_TIMEOUT,
            async move { log::head(&db).await },
        )
        .await
    }

    async fn recent_head(&self) -> Result<Head, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout("reading the head of the log", REQUEST_TIMEOUT, async move {
            log::recent_head(&db).await
        })
        .await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let (db, query) = (self.connection.work.clone(), query.clone());
        spawn_with_timeout("reading events", SCAN_TIMEOUT, async move { log::events(&db, &query).await })
            .await
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let (db, stream) = (self.connection.work.clone(), stream.clone());
        spawn_with_timeout("reading a stream", REQUEST_TIMEOUT, async move {
            log::stream(&db, &stream, after, limit).await
        })
        .await
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        if streams.is_empty() {
            return Ok(HashMap::new());
        }
        let (db, streams) = (self.connection.work.clone(), streams.to_vec());
        spawn_with_timeout(
            "reading the vault",
            REQUEST_TIMEOUT,
            async move { log::vault(&db, &streams).await },
        )
        .await
    }

    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError> {
        let (db, streams) = (self.connection.work.clone(), streams.to_vec());
        spawn_with_timeout("reading the vault", SCAN_TIMEOUT, async move { log::held(&db, &streams).await })
            .await
    }

    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let (db, after) = (self.connection.work.clone(), after.cloned());
        spawn_with_timeout("reading the vault", SCAN_TIMEOUT, async move {
            log::holders(&db, after.as_ref(), limit).await
        })
        .await
    }

    async fn recorded_result(&self, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout("reading a first result", REQUEST_TIMEOUT, async move {
            idempotency::read(&db, key).await
        })
        .await
    }

    fn watch_progress(&self) -> Receiver<StoreProgress> {
        self.tracker.subscribe()
    }

    fn since_heartbeat(&self) -> Option<Duration> {
        self.tracker.since_heartbeat()
    }

    fn retries(&self) -> RetryCounter {
        self.connection.work.retries().clone()
    }
}
