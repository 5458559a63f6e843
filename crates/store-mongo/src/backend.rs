//! The [`Backend`] port: appends and reads of the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use store::append::AppendResult;
use store::backend::{CommitError, Genesis};
use store::commit_planner::Batch;
use store::key_store::{ClaimBackfill, ClaimHash, ClaimReplacement, KeyEntry, StreamKeyEntry};
use store::{
    Backend, DatabaseClock, Envelope, EventQuery, Head, RecordedResult, RetryCounter, StoreError,
    StoreProgress, StreamId, WriteError,
};
use tokio::sync::watch::Receiver;

use crate::connection::COLLECTIONS;
use crate::detached::{REQUEST_TIMEOUT, SCAN_TIMEOUT, spawn_detached, spawn_with_timeout};
use crate::mongo_store::MongoStore;
use crate::{commit, idempotency, key_store, log, migrate, watch};

#[async_trait]
impl Backend for MongoStore {
    async fn exists(&self) -> Result<bool, StoreError> {
        let connection = self.connection.clone();
        spawn_with_timeout("checking whether a log exists", REQUEST_TIMEOUT, async move {
            migrate::exists(&connection).await
        })
        .await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        let (connection, genesis) = (self.connection.clone(), genesis.clone());
        let stored = spawn_detached(async move { migrate::migrate(&connection, &genesis).await }).await?;
        for name in COLLECTIONS {
            self.tracker.watch(name);
        }
        self.watch();
        Ok(stored)
    }

    async fn epoch(&self) -> Result<u64, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout("reading the epoch of the log", REQUEST_TIMEOUT, async move {
            migrate::read_epoch(&db).await
        })
        .await
    }

    async fn set_epoch(&self, epoch: u64) -> Result<(), StoreError> {
        let db = self.connection.work.clone();
        spawn_detached(async move { migrate::write_epoch(&db, epoch).await }).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        let committed = commit::commit(&self.connection.work, batch).await?;
        self.tracker.advance_head(committed.head);
        self.tracker.observe_head_time(committed.at);
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

    /// A primary that was deposed and does not know it may answer, or a new one that does not know yet what the old
    /// one has acknowledged.
    fn primary_changes(&self) -> Option<u64> {
        Some(self.connection.primaries.changes())
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

    async fn stream_backwards(
        &self,
        stream: &StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Envelope>, StoreError> {
        let (db, stream) = (self.connection.work.clone(), stream.clone());
        spawn_with_timeout("reading a stream", REQUEST_TIMEOUT, async move {
            log::stream_backwards(&db, &stream, before, limit).await
        })
        .await
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        if streams.is_empty() {
            return Ok(HashMap::new());
        }
        let (db, streams) = (self.connection.work.clone(), streams.to_vec());
        spawn_with_timeout("reading the key store", REQUEST_TIMEOUT, async move {
            key_store::read_entries(&db, &streams).await
        })
        .await
    }

    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError> {
        let (db, streams) = (self.connection.work.clone(), streams.to_vec());
        spawn_with_timeout("reading the key store", SCAN_TIMEOUT, async move {
            key_store::read_entries_with_claims(&db, &streams).await
        })
        .await
    }

    async fn claim_owners(&self, claims: &[ClaimHash]) -> Result<HashMap<ClaimHash, StreamId>, StoreError> {
        let (db, claims) = (self.connection.work.clone(), claims.to_vec());
        spawn_with_timeout("reading the owners of claims", REQUEST_TIMEOUT, async move {
            key_store::read_claim_owners(&db, &claims).await
        })
        .await
    }

    async fn replace_claims(&self, replacements: &[ClaimReplacement]) -> Result<(), StoreError> {
        let (db, replacements) = (self.connection.work.clone(), replacements.to_vec());
        spawn_with_timeout("replacing claims", SCAN_TIMEOUT, async move {
            key_store::replace_claims(&db, &replacements).await
        })
        .await
    }

    async fn claim_backfill(&self) -> Result<Option<ClaimBackfill>, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout("reading how far claims were backfilled", REQUEST_TIMEOUT, async move {
            migrate::read_claim_backfill(&db).await
        })
        .await
    }

    async fn set_claim_backfill(
        &self,
        from: Option<&ClaimBackfill>,
        to: &ClaimBackfill,
    ) -> Result<(), WriteError> {
        let (db, from, to) = (self.connection.work.clone(), from.cloned(), to.clone());
        spawn_detached(async move { Ok(migrate::write_claim_backfill(&db, from.as_ref(), &to).await) })
            .await?
    }

    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let (db, after) = (self.connection.work.clone(), after.cloned());
        spawn_with_timeout("reading the key store", SCAN_TIMEOUT, async move {
            key_store::read_streams(&db, after.as_ref(), limit).await
        })
        .await
    }

    async fn recorded_result(&self, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout("reading the recorded result of an idempotency key", REQUEST_TIMEOUT, async move {
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

    fn clock(&self) -> Option<&DatabaseClock> {
        Some(self.connection.work.clock())
    }

    fn retries(&self) -> RetryCounter {
        self.connection.work.retries().clone()
    }
}

impl MongoStore {
    /// Starts the change stream and the poller, once per store.
    fn watch(&self) {
        if !self.watching.swap(true, Ordering::AcqRel) {
            watch::start(self.connection.watched.clone(), &self.tracker);
        }
    }
}
