//! Replays the log into rows of a key range that fits into memory.

use std::collections::BTreeMap;

use store::{
    EventQuery, InternalError, Position, ProjectionCheckpoint, Row, StoreError, StoredEvent, WriteError,
};

use crate::skipped_events;
use crate::table_projection::{BatchError, TableProjection};

/// Bytes of rows held at once.
pub(super) const MEMORY_BUDGET: usize = 96 * 1024 * 1024;
/// Memory per row beside its text.
const OVERHEAD: usize = 96;
/// Events read per batch.
const BATCH: usize = 2_000;

/// The folded rows of a key range, as JSON text, which takes a third of the memory.
pub(super) struct Replay {
    projection: TableProjection,
    /// The memory budget in bytes.
    budget: usize,
    pub(super) rows: BTreeMap<String, Vec<u8>>,
    bytes: usize,
    /// Only keys above it.
    low: Option<String>,
    /// Only keys up to it.
    pub(super) high: Option<String>,
    position: Position,
}

impl Replay {
    pub(super) fn new(projection: TableProjection, budget: usize, low: Option<String>) -> Self {
        Self {
            projection,
            budget,
            rows: BTreeMap::new(),
            bytes: 0,
            low,
            high: None,
            position: Position::START,
        }
    }

    /// Replays up to that position.
    pub(super) async fn advance(
        &mut self,
        until: Position,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), StoreError> {
        while self.position < until {
            let query = EventQuery {
                after: self.position,
                until: Some(until),
                limit: BATCH,
                ..EventQuery::default()
            };
            let from = ProjectionCheckpoint { position: self.position, ..ProjectionCheckpoint::default() };
            let (low, high) = (self.low.clone(), self.high.clone());
            let within = move |key: &str| {
                low.as_deref().is_none_or(|low| key > low) && high.as_deref().is_none_or(|high| key <= high)
            };
            let batch = self.projection.read_matching(from, &query, until, &within).await.map_err(failed)?;
            for event in &batch.events {
                self.fold(event).await?;
            }
            self.position = batch.to;
            progress(self.position.get(), until.get());
        }
        Ok(())
    }

    async fn fold(&mut self, event: &StoredEvent) -> Result<(), StoreError> {
        let projection = self.projection.projection;
        let Some(key) = projection.key(&event.envelope) else { return Ok(()) };
        // Its row may have been evicted within this batch.
        if self.high.as_ref().is_some_and(|high| key > *high) {
            return Ok(());
        }
        let before = self.rows.get(&key).map(|text| decoded(text)).transpose()?;
        match projection.fold(before, event) {
            Ok(row) => self.put(key, row),
            Err(poison) => {
                let skipped =
                    skipped_events::load(&self.projection.context.events, projection.name()).await?;
                if skipped.contains(&poison.position) { Ok(()) } else { Err(poison.into()) }
            }
        }
    }

    fn put(&mut self, key: String, row: Option<Row>) -> Result<(), StoreError> {
        let cost = |key: &str, text: &[u8]| key.len() + text.len() + OVERHEAD;
        if let Some(old) = self.rows.remove(&key) {
            self.bytes -= cost(&key, &old);
        }
        if let Some(row) = row {
            let text = serde_json::to_vec(&row).map_err(|error| InternalError::encoding("a row", error))?;
            self.bytes += cost(&key, &text);
            self.rows.insert(key, text);
        }
        while self.bytes > self.budget && self.rows.len() > 1 {
            let Some((last, text)) = self.rows.pop_last() else { break };
            self.bytes -= cost(&last, &text);
            self.high = self.rows.last_key_value().map(|(key, _)| key.clone());
        }
        Ok(())
    }
}

fn failed(stop: BatchError) -> StoreError {
    match stop {
        BatchError::Failed(WriteError::Store(error))
        | BatchError::Locked { error, .. }
        | BatchError::Poisoned { error, .. } => error,
        BatchError::Failed(WriteError::Conflict) => {
            InternalError::UnexpectedConflict { operation: "replaying the log" }.into()
        }
    }
}

pub(super) fn decoded(text: &[u8]) -> Result<Row, StoreError> {
    serde_json::from_slice(text).map_err(|error| InternalError::encoding("a row", error).into())
}
