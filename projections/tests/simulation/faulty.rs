//! A database that fails: it delays, refuses, forgets to answer, does things late, and lets the process die at every
//! step. It never lies: what it says was refused was not done, and what it says was done, was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use store::backend::{CommitError, Genesis, Held, VaultEntry, Verdict};
use store::judge::Batch;
use store::vault::ClaimHash;
use store::{
    ApplyError, Backend, Change, Checkpoint, Envelope, EventQuery, FirstResult, Head, Lease, Leases,
    ReadModels, Row, Signal, Slice, StoreError, StreamId, Table, Versions,
};
use tokio::sync::watch;

use crate::line::Line;

/// One process's connection to a database that it shares with others.
pub(crate) struct Faulty<B> {
    inner: B,
    line: Arc<Line>,
}

impl<B> Faulty<B> {
    pub(crate) fn new(inner: B, line: Arc<Line>) -> Self {
        Self { inner, line }
    }
}

#[async_trait]
impl<B: Backend + Clone + 'static> Backend for Faulty<B> {
    async fn exists(&self) -> Result<bool, StoreError> {
        let inner = self.inner.clone();
        self.line.call("exists", async move { inner.exists().await }).await
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        let (inner, genesis) = (self.inner.clone(), genesis.clone());
        self.line.call("migrate", async move { inner.migrate(&genesis).await }).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<Verdict>, CommitError> {
        let inner = self.inner.clone();
        let verdicts = self.line.change("commit", async move { inner.commit(batch).await }).await?;
        if verdicts.len() > 1 {
            self.line.world.tally.count("batches of several appends");
        }
        let head = verdicts.iter().flatten().map(|appended| appended.position).max();
        self.line.board.post(|board| board.raise_head(head.unwrap_or_default()));
        Ok(verdicts)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let inner = self.inner.clone();
        self.line.call("head", async move { inner.head().await }).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let (inner, query) = (self.inner.clone(), query.clone());
        self.line.call("events", async move { inner.events(&query).await }).await
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let (inner, stream) = (self.inner.clone(), stream.clone());
        self.line.call("stream", async move { inner.stream(&stream, after, limit).await }).await
    }

    async fn vault(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, VaultEntry>, StoreError> {
        let (inner, streams) = (self.inner.clone(), streams.to_vec());
        self.line.call("vault", async move { inner.vault(&streams).await }).await
    }

    async fn held(&self, streams: &[StreamId]) -> Result<Vec<Held>, StoreError> {
        let (inner, streams) = (self.inner.clone(), streams.to_vec());
        self.line.call("held", async move { inner.held(&streams).await }).await
    }

    async fn holders(&self, after: Option<&StreamId>, limit: usize) -> Result<Vec<StreamId>, StoreError> {
        let (inner, after) = (self.inner.clone(), after.cloned());
        self.line.call("holders", async move { inner.holders(after.as_ref(), limit).await }).await
    }

    async fn first_result(&self, key: ClaimHash) -> Result<Option<FirstResult>, StoreError> {
        let inner = self.inner.clone();
        self.line.call("first_result", async move { inner.first_result(key).await }).await
    }

    fn signals(&self) -> watch::Receiver<Signal> {
        self.line.board.subscribe()
    }
}

#[async_trait]
impl<B: ReadModels + Clone + 'static> ReadModels for Faulty<B> {
    async fn prepare(&self, table: &Table) -> Result<(), StoreError> {
        let (inner, table) = (self.inner.clone(), table.clone());
        self.line.change("prepare", async move { inner.prepare(&table).await }).await
    }

    async fn index(&self, table: &Table) -> Result<(), StoreError> {
        let (inner, table) = (self.inner.clone(), table.clone());
        self.line.call("index", async move { inner.index(&table).await }).await
    }

    async fn checkpoint(&self, table: &Table) -> Result<Checkpoint, StoreError> {
        let (inner, table) = (self.inner.clone(), table.clone());
        self.line.call("checkpoint", async move { inner.checkpoint(&table).await }).await
    }

    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        let (inner, table, keys) = (self.inner.clone(), table.clone(), keys.to_vec());
        self.line.call("rows", async move { inner.rows(&table, &keys).await }).await
    }

    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<Vec<Row>, StoreError> {
        let (inner, table, text) = (self.inner.clone(), table.clone(), text.to_owned());
        self.line.call("find", async move { inner.find(&table, column, &text).await }).await
    }

    async fn slice(&self, table: &Table, after: Option<&str>, limit: usize) -> Result<Slice, StoreError> {
        let (inner, table, after) = (self.inner.clone(), table.clone(), after.map(ToOwned::to_owned));
        self.line.call("slice", async move { inner.slice(&table, after.as_deref(), limit).await }).await
    }

    async fn apply(
        &self,
        table: &Table,
        from: Checkpoint,
        to: Checkpoint,
        changes: Vec<Change>,
    ) -> Result<(), ApplyError> {
        let (inner, name, table) = (self.inner.clone(), table.name.clone(), table.clone());
        let applied =
            self.line.change("apply", async move { inner.apply(&table, from, to, changes).await }).await;
        if matches!(applied, Err(ApplyError::Overtaken)) {
            self.line.world.tally.count("keepers overtaken");
        }
        applied?;
        self.line.board.post(|board| board.raise_checkpoint(&name, to));
        Ok(())
    }

    async fn versions(&self, projection: &str) -> Result<Option<Versions>, StoreError> {
        let (inner, name) = (self.inner.clone(), projection.to_owned());
        let versions = self.line.call("versions", async move { inner.versions(&name).await }).await?;
        if let Some(versions) = versions.clone() {
            self.line.board.post(|board| board.raise_versions(projection, versions));
        }
        Ok(versions)
    }

    async fn change_versions(
        &self,
        projection: &str,
        to: &Versions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), ApplyError> {
        let (inner, name, next) = (self.inner.clone(), projection.to_owned(), to.clone());
        let behind = behind.map(|(one, other)| (one.clone(), other.clone()));
        let change = async move {
            let behind = behind.as_ref().map(|(one, other)| (one, other));
            inner.change_versions(&name, &next, behind).await
        };
        let changed = self.line.change("change_versions", change).await;
        if matches!(changed, Err(ApplyError::Overtaken)) {
            self.line.world.tally.count("changes of versions overtaken");
        }
        changed?;
        self.line.board.post(|board| board.raise_versions(projection, to.clone()));
        Ok(())
    }

    async fn remove(&self, table: &Table) -> Result<(), StoreError> {
        let (inner, name, table) = (self.inner.clone(), table.name.clone(), table.clone());
        self.line.board.post(|board| board.forget(&name));
        self.line.change("remove", async move { inner.remove(&table).await }).await
    }
}

#[async_trait]
impl<B: Leases + Clone + 'static> Leases for Faulty<B> {
    async fn lease(
        &self,
        name: &str,
        holder: &str,
        term: Duration,
        report: &Value,
    ) -> Result<Lease, StoreError> {
        let (inner, name, report) = (self.inner.clone(), name.to_owned(), report.clone());
        let (asked, world) = (holder.to_owned(), Arc::clone(&self.line.world));
        let lease = async move {
            let before = inner.leases().await?.into_iter().find(|lease| lease.name == name);
            let lease = inner.lease(&name, &asked, term, &report).await?;
            if before.is_some_and(|before| before.holder != lease.holder) {
                world.tally.count("leases taken over");
            }
            Ok(lease)
        };
        self.line.note("lease", lease).await
    }

    async fn release(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        let (holder, report) = (holder.to_owned(), report.clone());
        self.line.note("release", async move { inner.release(&name, &holder, &report).await }).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let inner = self.inner.clone();
        self.line.call("leases", async move { inner.leases().await }).await
    }
}
