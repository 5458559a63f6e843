//! A slow database that records writes, and from which a node can be disconnected.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use store::memory::Memory;
use store::{
    Lease, LeaseStore, PrefixQuery, ProjectionCheckpoint, ProjectionVersions, ReadModelStore, Row, RowPage,
    StoreError, Table, TableWrite, WriteError,
};

/// The transactions, each with its writes: table, from, to.
pub(super) type Transactions = Arc<Mutex<Vec<Vec<(String, u64, u64)>>>>;

/// The database as seen by one node.
#[derive(Clone)]
pub(super) struct RecordingBackend {
    pub(super) memory: Memory,
    /// The latency of writes, pages and leases.
    pub(super) delay: Duration,
    pub(super) written: Transactions,
    /// Writes to this table fail.
    pub(super) failing: Arc<Mutex<Option<String>>>,
    /// Set once the node is disconnected: its calls never return.
    pub(super) disconnected: Arc<AtomicBool>,
}

impl RecordingBackend {
    pub(super) fn new(memory: &Memory, delay: Duration) -> Self {
        Self {
            memory: memory.clone(),
            delay,
            written: Transactions::default(),
            failing: Arc::default(),
            disconnected: Arc::default(),
        }
    }

    /// The writes to a table.
    pub(super) fn writes_to(&self, table: &str) -> Vec<(u64, u64)> {
        let written = self.written.lock().unwrap();
        let writes = written.iter().flatten().filter(|(name, ..)| name == table);
        writes.map(|(_, from, to)| (*from, *to)).collect()
    }

    /// Forgets the transactions so far, and returns the tables that each wrote to.
    pub(super) fn take_transactions(&self) -> Vec<Vec<String>> {
        let written = std::mem::take(&mut *self.written.lock().unwrap());
        let tables = |writes: Vec<(String, u64, u64)>| writes.into_iter().map(|(table, ..)| table);
        written.into_iter().map(|writes| tables(writes).collect()).collect()
    }

    async fn wait_if_disconnected(&self) {
        if self.disconnected.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }
}

#[async_trait]
impl ReadModelStore for RecordingBackend {
    async fn prepare(&self, table: &Table) -> Result<(), StoreError> {
        self.memory.prepare(table).await
    }

    async fn index(&self, table: &Table) -> Result<(), StoreError> {
        self.memory.index(table).await
    }

    async fn checkpoint(&self, table: &Table) -> Result<ProjectionCheckpoint, StoreError> {
        self.memory.checkpoint(table).await
    }

    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        self.memory.rows(table, keys).await
    }

    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<RowPage, StoreError> {
        self.memory.find(table, column, text).await
    }

    async fn row_page(
        &self,
        table: &Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        tokio::time::sleep(self.delay).await;
        self.memory.row_page(table, after, limit).await
    }

    async fn prefix_page(&self, table: &Table, query: &PrefixQuery) -> Result<RowPage, StoreError> {
        self.memory.prefix_page(table, query).await
    }

    async fn apply_all(&self, writes: Vec<TableWrite>) -> Result<(), WriteError> {
        tokio::time::sleep(self.delay).await;
        let failing = self.failing.lock().unwrap().clone();
        if writes.iter().any(|write| failing.as_deref() == Some(&*write.table.name)) {
            let what = "writing rows: the table was altered".to_owned();
            return Err(StoreError::Unavailable { what, source: None }.into());
        }
        let moved: Vec<_> = writes
            .iter()
            .map(|write| (write.table.name.to_string(), write.from.position.get(), write.to.position.get()))
            .collect();
        self.memory.apply_all(writes).await?;
        self.written.lock().unwrap().push(moved);
        Ok(())
    }

    async fn versions(&self, projection: &str) -> Result<Option<ProjectionVersions>, StoreError> {
        self.memory.versions(projection).await
    }

    async fn change_versions(
        &self,
        projection: &str,
        to: &ProjectionVersions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), WriteError> {
        self.memory.change_versions(projection, to, behind).await
    }

    async fn remove(&self, table: &Table) -> Result<(), StoreError> {
        self.memory.remove(table).await
    }
}

#[async_trait]
impl LeaseStore for RecordingBackend {
    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        term: Duration,
        report: &Value,
    ) -> Result<Lease, StoreError> {
        self.wait_if_disconnected().await;
        let (memory, delay) = (self.memory.clone(), self.delay);
        let (name, holder, report) = (name.to_owned(), holder.to_owned(), report.clone());
        // A request is executed whether or not the sender still waits.
        let sent = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            memory.acquire_lease(&name, &holder, term, &report).await
        });
        sent.await.unwrap()
    }

    async fn release_lease(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError> {
        self.wait_if_disconnected().await;
        self.memory.release_lease(name, holder, report).await
    }

    async fn list_leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.memory.list_leases().await
    }
}
