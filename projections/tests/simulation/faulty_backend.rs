//! A faulty database: it delays, rejects, loses answers, executes late, and crashes the process at any step.
//! It never lies: a rejected call was not executed, and an acknowledged one was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use store::append::AppendResult;
use store::backend::{CommitError, Genesis};
use store::commit_planner::Batch;
use store::key_store::{ClaimBackfill, ClaimHash, ClaimReplacement, KeyEntry, StreamKeyEntry};
use store::{
    Backend, Envelope, EventQuery, Head, Lease, LeaseStore, PrefixQuery, ProjectionCheckpoint,
    ProjectionVersions, ReadModelStore, RecordedResult, Row, RowPage, StoreError, StoreProgress, StreamId,
    Table, TableWrite, WriteError,
};
use tokio::sync::watch;

use crate::connection::Connection;
use crate::item_projection;

/// One process's connection to a database that it shares with others.
pub(crate) struct FaultyBackend<B> {
    inner: B,
    connection: Arc<Connection>,
}

impl<B> FaultyBackend<B> {
    pub(crate) fn new(inner: B, connection: Arc<Connection>) -> Self {
        Self { inner, connection }
    }
}

#[async_trait]
impl<B: Backend + Clone + 'static> Backend for FaultyBackend<B> {
    async fn exists(&self) -> Result<bool, StoreError> {
        let inner = self.inner.clone();
        self.connection.read("exists", async move { inner.exists().await }).await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        let (inner, genesis) = (self.inner.clone(), genesis.clone());
        self.connection.read("migrate", async move { inner.migrate(&genesis).await }).await
    }

    async fn epoch(&self) -> Result<u64, StoreError> {
        self.inner.epoch().await
    }

    async fn set_epoch(&self, epoch: u64) -> Result<(), StoreError> {
        self.inner.set_epoch(epoch).await
    }

    async fn replace_claims(&self, replacements: &[ClaimReplacement]) -> Result<(), StoreError> {
        self.inner.replace_claims(replacements).await
    }

    async fn claim_backfill(&self) -> Result<Option<ClaimBackfill>, StoreError> {
        self.inner.claim_backfill().await
    }

    async fn set_claim_backfill(
        &self,
        from: Option<&ClaimBackfill>,
        to: &ClaimBackfill,
    ) -> Result<(), WriteError> {
        self.inner.set_claim_backfill(from, to).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        let inner = self.inner.clone();
        let results = self.connection.write("commit", async move { inner.commit(batch).await }).await?;
        if results.len() > 1 {
            self.connection.simulation.coverage.count("batches of several appends");
        }
        let head = results.iter().flatten().map(|appended| appended.position).max();
        self.connection.board.publish(|board| board.advance_head(head.unwrap_or_default()));
        Ok(results)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let inner = self.inner.clone();
        self.connection.read("head", async move { inner.head().await }).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let (inner, query) = (self.inner.clone(), query.clone());
        self.connection.read("events", async move { inner.events(&query).await }).await
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let (inner, stream) = (self.inner.clone(), stream.clone());
        self.connection.read("stream", async move { inner.stream(&stream, after, limit).await }).await
    }

    async fn stream_backwards(
        &self,
        stream: &StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Envelope>, StoreError> {
        let (inner, stream) = (self.inner.clone(), stream.clone());
        let read = async move { inner.stream_backwards(&stream, before, limit).await };
        self.connection.read("stream_backwards", read).await
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        let (inner, streams) = (self.inner.clone(), streams.to_vec());
        self.connection.read("key_entries", async move { inner.key_entries(&streams).await }).await
    }

    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError> {
        let (inner, streams) = (self.inner.clone(), streams.to_vec());
        self.connection
            .read("key_entries_with_claims", async move { inner.key_entries_with_claims(&streams).await })
            .await
    }

    async fn claim_owners(&self, claims: &[ClaimHash]) -> Result<HashMap<ClaimHash, StreamId>, StoreError> {
        let (inner, claims) = (self.inner.clone(), claims.to_vec());
        self.connection.read("claim_owners", async move { inner.claim_owners(&claims).await }).await
    }

    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let (inner, after) = (self.inner.clone(), after.cloned());
        self.connection
            .read("key_entry_streams", async move { inner.key_entry_streams(after.as_ref(), limit).await })
            .await
    }

    async fn recorded_result(&self, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError> {
        let inner = self.inner.clone();
        self.connection.read("recorded_result", async move { inner.recorded_result(key).await }).await
    }

    fn watch_progress(&self) -> watch::Receiver<StoreProgress> {
        self.connection.board.subscribe()
    }
}

#[async_trait]
impl<B: ReadModelStore + Clone + 'static> ReadModelStore for FaultyBackend<B> {
    async fn prepare(&self, table: &Table) -> Result<(), StoreError> {
        let (inner, table) = (self.inner.clone(), table.clone());
        self.connection.write("prepare", async move { inner.prepare(&table).await }).await
    }

    async fn index(&self, table: &Table) -> Result<(), StoreError> {
        let (inner, table) = (self.inner.clone(), table.clone());
        self.connection.read("index", async move { inner.index(&table).await }).await
    }

    async fn checkpoint(&self, table: &Table) -> Result<ProjectionCheckpoint, StoreError> {
        let (inner, table) = (self.inner.clone(), table.clone());
        self.connection.read("checkpoint", async move { inner.checkpoint(&table).await }).await
    }

    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        let (inner, table, keys) = (self.inner.clone(), table.clone(), keys.to_vec());
        self.connection.read("rows", async move { inner.rows(&table, &keys).await }).await
    }

    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<RowPage, StoreError> {
        let (inner, table, text) = (self.inner.clone(), table.clone(), text.to_owned());
        self.connection.read("find", async move { inner.find(&table, column, &text).await }).await
    }

    async fn row_page(
        &self,
        table: &Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        let (inner, table, after) = (self.inner.clone(), table.clone(), after.map(ToOwned::to_owned));
        self.connection
            .read("row_page", async move { inner.row_page(&table, after.as_deref(), limit).await })
            .await
    }

    async fn prefix_page(&self, table: &Table, query: &PrefixQuery) -> Result<RowPage, StoreError> {
        let (inner, table, query) = (self.inner.clone(), table.clone(), query.clone());
        self.connection.read("prefix_page", async move { inner.prefix_page(&table, &query).await }).await
    }

    async fn apply_all(&self, writes: Vec<TableWrite>) -> Result<(), WriteError> {
        let inner = self.inner.clone();
        let moved: Vec<_> = writes.iter().map(|write| (Arc::clone(&write.table.name), write.to)).collect();
        if moved.len() > 1 {
            self.connection.simulation.coverage.count("batches of the lane");
        }
        if let Some(time) = self.connection.simulation.faults.poison(&self.connection.simulation.random) {
            self.connection.simulation.coverage.count("halts");
            item_projection::halt_for(time);
        }
        let applied = self.connection.write("apply", async move { inner.apply_all(writes).await }).await;
        if matches!(applied, Err(WriteError::Conflict)) {
            self.connection.simulation.coverage.count("projector conflicts");
        }
        applied?;
        for (table, to) in moved {
            self.connection.board.publish(|board| board.advance_checkpoint(&table, to));
        }
        Ok(())
    }

    async fn versions(&self, projection: &str) -> Result<Option<ProjectionVersions>, StoreError> {
        let (inner, name) = (self.inner.clone(), projection.to_owned());
        let versions = self.connection.read("versions", async move { inner.versions(&name).await }).await?;
        if let Some(versions) = versions.clone() {
            self.connection.board.publish(|board| board.advance_versions(projection, versions));
        }
        Ok(versions)
    }

    async fn change_versions(
        &self,
        projection: &str,
        to: &ProjectionVersions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), WriteError> {
        let (inner, name, next) = (self.inner.clone(), projection.to_owned(), to.clone());
        let behind = behind.map(|(one, other)| (one.clone(), other.clone()));
        let change = async move {
            let behind = behind.as_ref().map(|(one, other)| (one, other));
            inner.change_versions(&name, &next, behind).await
        };
        let changed = self.connection.write("change_versions", change).await;
        if matches!(changed, Err(WriteError::Conflict)) {
            self.connection.simulation.coverage.count("version change conflicts");
        }
        changed?;
        self.connection.board.publish(|board| board.advance_versions(projection, to.clone()));
        Ok(())
    }

    async fn remove(&self, table: &Table) -> Result<(), StoreError> {
        let (inner, name, table) = (self.inner.clone(), table.name.clone(), table.clone());
        self.connection.board.publish(|board| board.unwatch(&name));
        self.connection.write("remove", async move { inner.remove(&table).await }).await
    }
}

#[async_trait]
impl<B: LeaseStore + Clone + 'static> LeaseStore for FaultyBackend<B> {
    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        term: Duration,
        report: &Value,
    ) -> Result<Lease, StoreError> {
        let (inner, name, report) = (self.inner.clone(), name.to_owned(), report.clone());
        let (asked, simulation) = (holder.to_owned(), Arc::clone(&self.connection.simulation));
        if let Some(ahead) = simulation.faults.failover_clock(&simulation.random) {
            simulation.coverage.count("failovers to a server with another clock");
            simulation.memory.set_clock_ahead(ahead);
        }
        let lease = async move {
            let before = inner.list_leases().await?.into_iter().find(|lease| lease.name == name);
            let lease = inner.acquire_lease(&name, &asked, term, &report).await?;
            if before.is_some_and(|before| before.holder != lease.holder) {
                simulation.coverage.count("leases taken over");
            }
            Ok(lease)
        };
        self.connection.write_unobserved("lease", lease).await
    }

    async fn release_lease(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        let (holder, report) = (holder.to_owned(), report.clone());
        self.connection
            .write_unobserved(
                "release_lease",
                async move { inner.release_lease(&name, &holder, &report).await },
            )
            .await
    }

    async fn list_leases(&self) -> Result<Vec<Lease>, StoreError> {
        let inner = self.inner.clone();
        self.connection.read("list_leases", async move { inner.list_leases().await }).await
    }
}
