//! The [`Backend`] port: appends and reads of the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use store::append::AppendResult;
use store::backend::{Backend, CommitError, EventQuery, Genesis};
use store::commit_planner::Batch;
use store::head::Head;
use store::key_store::{ClaimBackfill, ClaimHash, ClaimReplacement, KeyEntry, StreamKeyEntry};
use store::{Envelope, RecordedResult, StoreError, StoreProgress, StreamId, WriteError};
use tokio::sync::watch::Receiver;

use crate::connection::stored_format;
use crate::database_file::BUSY_TIMEOUT;
use crate::error::SqliteError;
use crate::job_queue::Priority;
use crate::managed_connection::ManagedConnection;
use crate::schema::TABLES;
use crate::sqlite_store::SqliteStore;
use crate::{commit, events, head, idempotency, key_store, migrate};

#[async_trait]
impl Backend for SqliteStore {
    async fn exists(&self) -> Result<bool, StoreError> {
        self.read(|connection| Ok(stored_format(connection)?.is_some())).await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        let (genesis, file) = (genesis.clone(), Arc::clone(&self.file));
        let stored = self.write(move |connection| migrate::migrate(connection, &genesis, &file)).await?;
        for name in TABLES {
            self.tracker.watch(name);
        }
        Ok(stored)
    }

    async fn epoch(&self) -> Result<u64, StoreError> {
        self.read(migrate::read_epoch).await
    }

    async fn set_epoch(&self, epoch: u64) -> Result<(), StoreError> {
        self.write(move |connection| migrate::write_epoch(connection, epoch)).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        let tracker = Arc::clone(&self.tracker);
        let deadline = Instant::now() + BUSY_TIMEOUT;
        let work = move |session: &mut ManagedConnection| {
            let left = deadline.saturating_duration_since(Instant::now());
            let committed = session.run_within(left, |connection| commit::commit(connection, &batch));
            Some(committed.map(|(results, head, at)| {
                tracker.advance_head(head);
                tracker.observe_head_time(at);
                results
            }))
        };
        // A writer thread that stopped without an answer may have committed first.
        let outcome: Result<_, SqliteError> =
            self.writer.run(Priority::Append, work).await.map_err(CommitError::Unknown)?;
        outcome.map_err(|failure| match failure {
            SqliteError::UnknownCommit(_) => CommitError::Unknown(failure.into_store_error(&self.file)),
            SqliteError::Sqlite(_) | SqliteError::Store(_) => {
                CommitError::NotCommitted(failure.into_store_error(&self.file))
            }
        })
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.read(head::read_head).await
    }

    fn commit_marker(&self) -> Option<u64> {
        self.marker.get()
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let query = query.clone();
        self.read(move |connection| events::read_events(connection, &query)).await
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| events::read_stream(connection, &stream, after, limit)).await
    }

    async fn stream_backwards(
        &self,
        stream: &StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Envelope>, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| events::read_stream_backwards(connection, &stream, before, limit)).await
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        if streams.is_empty() {
            return Ok(HashMap::new());
        }
        let streams = streams.to_vec();
        self.read(move |connection| key_store::read_entries(connection, &streams)).await
    }

    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError> {
        let streams = streams.to_vec();
        self.read(move |connection| key_store::read_entries_with_claims(connection, &streams)).await
    }

    async fn claim_owners(&self, claims: &[ClaimHash]) -> Result<HashMap<ClaimHash, StreamId>, StoreError> {
        let claims = claims.to_vec();
        self.read(move |connection| key_store::read_claim_owners(connection, &claims)).await
    }

    async fn replace_claims(&self, replacements: &[ClaimReplacement]) -> Result<(), StoreError> {
        let replacements = replacements.to_vec();
        self.write(move |connection| key_store::replace_claims(connection, &replacements)).await
    }

    async fn claim_backfill(&self) -> Result<Option<ClaimBackfill>, StoreError> {
        self.read(migrate::read_claim_backfill).await
    }

    async fn set_claim_backfill(
        &self,
        from: Option<&ClaimBackfill>,
        to: &ClaimBackfill,
    ) -> Result<(), WriteError> {
        let (from, to) = (from.cloned(), to.clone());
        let write = move |connection: &mut _| migrate::write_claim_backfill(connection, from.as_ref(), &to);
        self.write(write).await?
    }

    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let after = after.cloned();
        self.read(move |connection| key_store::read_streams(connection, after.as_ref(), limit)).await
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
