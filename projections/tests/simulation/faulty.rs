//! A database that fails: it delays, refuses, forgets to answer, does things late, and lets the process die at every
//! step. It never lies: what it says was refused was not done, and what it says was done, was.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use store::backend::{CommitError, Genesis, Held, VaultEntry, VaultRange, Verdict};
use store::judge::Batch;
use store::vault::ClaimHash;
use store::{
    ApplyError, Backend, Change, Checkpoint, Envelope, EventQuery, FirstResult, Head, Pair, Position,
    ReadModels, Row, Signal, StoreError, StreamId, Table,
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

    async fn held(&self, range: &VaultRange) -> Result<Vec<Held>, StoreError> {
        let (inner, range) = (self.inner.clone(), range.clone());
        self.line.call("held", async move { inner.held(&range).await }).await
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
    async fn prepare(&self, table: &'static Table) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        self.line.call("prepare", async move { inner.prepare(table).await }).await
    }

    async fn checkpoint(&self, table: &'static Table) -> Result<Checkpoint, StoreError> {
        let inner = self.inner.clone();
        self.line.call("checkpoint", async move { inner.checkpoint(table).await }).await
    }

    async fn rows(&self, table: &'static Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        let (inner, keys) = (self.inner.clone(), keys.to_vec());
        self.line.call("rows", async move { inner.rows(table, &keys).await }).await
    }

    async fn find(
        &self,
        table: &'static Table,
        column: &'static str,
        text: &str,
    ) -> Result<Vec<Row>, StoreError> {
        let (inner, text) = (self.inner.clone(), text.to_owned());
        self.line.call("find", async move { inner.find(table, column, &text).await }).await
    }

    async fn page(
        &self,
        table: &'static Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let (inner, after) = (self.inner.clone(), after.map(ToOwned::to_owned));
        self.line.call("page", async move { inner.page(table, after.as_deref(), limit).await }).await
    }

    async fn apply(
        &self,
        table: &'static Table,
        from: Checkpoint,
        to: Position,
        changes: Vec<Change>,
    ) -> Result<(), ApplyError> {
        let inner = self.inner.clone();
        let applied =
            self.line.change("apply", async move { inner.apply(table, from, to, changes).await }).await;
        if matches!(applied, Err(ApplyError::Overtaken)) {
            self.line.world.tally.count("projectors overtaken");
        }
        applied?;
        let moved = Checkpoint { position: to, ..from };
        self.line.board.post(|board| board.raise_checkpoint(table.name, moved));
        Ok(())
    }

    async fn switches(&self, pair: &'static Pair) -> Result<u64, StoreError> {
        let inner = self.inner.clone();
        let switches = self.line.call("switches", async move { inner.switches(pair).await }).await?;
        self.switched(pair, switches);
        Ok(switches)
    }

    async fn reset(&self, pair: &'static Pair, switches: u64) -> Result<Checkpoint, ApplyError> {
        let inner = self.inner.clone();
        let emptied = self.line.change("reset", async move { inner.reset(pair, switches).await }).await?;
        self.line.board.post(|board| board.raise_checkpoint(pair.idle(switches).name, emptied));
        Ok(emptied)
    }

    async fn switch(&self, pair: &'static Pair, switches: u64) -> Result<(), ApplyError> {
        let inner = self.inner.clone();
        self.line.change("switch", async move { inner.switch(pair, switches).await }).await?;
        self.switched(pair, switches + 1);
        Ok(())
    }
}

impl<B> Faulty<B> {
    /// How the number of switches stands among the checkpoints.
    fn switched(&self, pair: &Pair, switches: u64) {
        let so_often = Checkpoint { rebuilds: switches, position: Position::START };
        self.line.board.post(|board| board.raise_checkpoint(pair.name, so_often));
    }
}
