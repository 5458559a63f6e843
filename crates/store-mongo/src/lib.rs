//! The MongoDB backend of the event store and of the read models: a replica set or a sharded cluster, through
//! transactions with snapshot reads and majority, journalled writes.
//!
//! `connect` says how the server is spoken to; `migrate` makes a database; `commit` runs a batch in the loop of
//! `transaction`, with what `facts` reads; `orphans` clears away what crashed processes leave open; `find` reads outside
//! of transactions, and `seen` keeps all reads from going back in time; `log` reads events back by one of the `indexes`,
//! `tiles` keeps what proves them; `keys` is there for rotations; `preparing`, `rows`, `clearing` and `versions` keep read models; `deliveries` says how far subscribers are; `watch` wakes whoever follows. `document` is the only place that knows how
//! an event looks in BSON, `row_document` the same for rows, `failure` the only one that reads the driver's errors.
//!
//! What does not belong here: deciding what may be written. That is [`store::judge`]'s, the same for every backend.

mod clearing;
mod commit;
mod connect;
mod deliveries;
mod document;
mod facts;
mod failure;
mod fields;
mod find;
mod idempotency;
mod indexes;
mod keys;
mod leases;
mod log;
mod migrate;
mod orphans;
mod preparing;
mod row_document;
mod rows;
mod seen;
mod shield;
mod tiles;
mod transaction;
mod versions;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use store::backend::{CommitError, Genesis, Held, VaultEntry, Verdict};
use store::judge::Batch;
use store::vault::ClaimHash;
use store::{
    Backend, Envelope, EventQuery, FirstResult, Head, Retries, Signal, SignalBoard, StoreError, StreamId,
};
use tokio::sync::watch::Receiver;

use crate::connect::Connection;
use crate::shield::{LONG, SHORT, answered, shielded};

/// A log and read models in a MongoDB database. Clones share connections and signals.
#[derive(Clone)]
pub struct MongoStore {
    connection: Connection,
    board: Arc<SignalBoard>,
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
            board: Arc::default(),
            watching: Arc::default(),
        })
    }

    /// Starts to follow what other processes write, once.
    fn watch(&self) {
        if !self.watching.swap(true, Ordering::AcqRel) {
            watch::start(self.connection.watched.clone(), &self.board);
        }
    }
}

#[async_trait]
impl Backend for MongoStore {
    async fn exists(&self) -> Result<bool, StoreError> {
        let connection = self.connection.clone();
        answered("looking for a log", SHORT, async move { migrate::exists(&connection).await }).await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        let (connection, genesis) = (self.connection.clone(), genesis.clone());
        let stored = shielded(async move { migrate::migrate(&connection, &genesis).await }).await?;
        for name in migrate::COLLECTIONS {
            self.board.rely_on(name);
        }
        self.watch();
        Ok(stored)
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<Verdict>, CommitError> {
        let committed = commit::commit(&self.connection.work, batch).await?;
        self.board.raise_head(committed.head);
        Ok(committed.verdicts)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let db = self.connection.work.clone();
        answered("reading the head of the log", SHORT, async move { log::head(&db).await }).await
    }

    async fn known_head(&self) -> Result<Head, StoreError> {
        let db = self.connection.work.clone();
        answered("reading the head of the log", SHORT, async move { log::known_head(&db).await }).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let (db, query) = (self.connection.work.clone(), query.clone());
        answered("reading events", LONG, async move { log::events(&db, &query).await }).await
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let (db, stream) = (self.connection.work.clone(), stream.clone());
        answered("reading a stream", SHORT, async move { log::stream(&db, &stream, after, limit).await })
            .await
    }

    async fn vault(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, VaultEntry>, StoreError> {
        if streams.is_empty() {
            return Ok(HashMap::new());
        }
        let (db, streams) = (self.connection.work.clone(), streams.to_vec());
        answered("reading the vault", SHORT, async move { log::vault(&db, &streams).await }).await
    }

    async fn held(&self, streams: &[StreamId]) -> Result<Vec<Held>, StoreError> {
        let (db, streams) = (self.connection.work.clone(), streams.to_vec());
        answered("reading the vault", LONG, async move { log::held(&db, &streams).await }).await
    }

    async fn holders(&self, after: Option<&StreamId>, limit: usize) -> Result<Vec<StreamId>, StoreError> {
        let (db, after) = (self.connection.work.clone(), after.cloned());
        answered("reading the vault", LONG, async move { log::holders(&db, after.as_ref(), limit).await })
            .await
    }

    async fn first_result(&self, key: ClaimHash) -> Result<Option<FirstResult>, StoreError> {
        let db = self.connection.work.clone();
        answered("reading a first result", SHORT, async move { idempotency::read(&db, key).await }).await
    }

    fn signals(&self) -> Receiver<Signal> {
        self.board.subscribe()
    }

    fn silence(&self) -> Option<Duration> {
        self.board.silence()
    }

    fn retries(&self) -> Retries {
        self.connection.work.retries().clone()
    }
}
