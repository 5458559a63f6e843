//! Backends around another one, for tests in which single calls behave differently.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::append::AppendResult;
use crate::backend::{Backend, CommitError, EventQuery, Genesis};
use crate::commit_planner::Batch;
use crate::error::{StoreError, WriteError};
use crate::event::{Envelope, StreamId};
use crate::head::Head;
use crate::idempotency::RecordedResult;
use crate::key_store::{ClaimBackfill, ClaimHash, ClaimReplacement, KeyEntry, StreamKeyEntry};
use crate::progress::StoreProgress;

/// A backend that passes every call on to another one. Implementors override the calls that they change; all
/// others go to [`BackendDecorator::inner`].
#[async_trait]
pub trait BackendDecorator: Send + Sync {
    /// The backend behind this one.
    fn inner(&self) -> &dyn Backend;

    /// As [`Backend::commit`].
    ///
    /// # Errors
    /// As [`Backend::commit`].
    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        self.inner().commit(batch).await
    }

    /// As [`Backend::head`].
    ///
    /// # Errors
    /// As [`Backend::head`].
    async fn head(&self) -> Result<Head, StoreError> {
        self.inner().head().await
    }

    /// As [`Backend::primary_changes`].
    fn primary_changes(&self) -> Option<u64> {
        self.inner().primary_changes()
    }

    /// As [`Backend::events`].
    ///
    /// # Errors
    /// As [`Backend::events`].
    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        self.inner().events(query).await
    }

    /// As [`Backend::key_entries`].
    ///
    /// # Errors
    /// As [`Backend::key_entries`].
    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        self.inner().key_entries(streams).await
    }
}

#[async_trait]
impl<T: BackendDecorator> Backend for T {
    async fn exists(&self) -> Result<bool, StoreError> {
        self.inner().exists().await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        self.inner().migrate(genesis).await
    }

    async fn epoch(&self) -> Result<u64, StoreError> {
        self.inner().epoch().await
    }

    async fn set_epoch(&self, epoch: u64) -> Result<(), StoreError> {
        self.inner().set_epoch(epoch).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        BackendDecorator::commit(self, batch).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        BackendDecorator::head(self).await
    }

    fn primary_changes(&self) -> Option<u64> {
        BackendDecorator::primary_changes(self)
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        BackendDecorator::events(self, query).await
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        self.inner().stream(stream, after, limit).await
    }

    async fn stream_backwards(
        &self,
        stream: &StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Envelope>, StoreError> {
        self.inner().stream_backwards(stream, before, limit).await
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        BackendDecorator::key_entries(self, streams).await
    }

    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError> {
        self.inner().key_entries_with_claims(streams).await
    }

    async fn claim_owners(&self, claims: &[ClaimHash]) -> Result<HashMap<ClaimHash, StreamId>, StoreError> {
        self.inner().claim_owners(claims).await
    }

    async fn replace_claims(&self, replacements: &[ClaimReplacement]) -> Result<(), StoreError> {
        self.inner().replace_claims(replacements).await
    }

    async fn claim_backfill(&self) -> Result<Option<ClaimBackfill>, StoreError> {
        self.inner().claim_backfill().await
    }

    async fn set_claim_backfill(
        &self,
        from: Option<&ClaimBackfill>,
        to: &ClaimBackfill,
    ) -> Result<(), WriteError> {
        self.inner().set_claim_backfill(from, to).await
    }

    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        self.inner().key_entry_streams(after, limit).await
    }

    async fn recorded_result(&self, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError> {
        self.inner().recorded_result(key).await
    }

    fn watch_progress(&self) -> watch::Receiver<StoreProgress> {
        self.inner().watch_progress()
    }
}
