//! The reference backend: everything in memory, one lock, no I/O. It is the shortest true statement of what a backend
//! has to do, and what tests run on when no database matters.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::backend::{
    Backend, CommitError, EventQuery, Facts, Genesis, Head, Held, Plan, VaultEntry, VaultRange, Verdict,
};
use crate::error::StoreError;
use crate::event::{Envelope, Position, StreamId};
use crate::idempotency::FirstResult;
use crate::judge::Batch;
use crate::rows::{ApplyError, Change, Checkpoint, Pair, ReadModels, Row, Table};
use crate::signal::{Signal, SignalBoard};
use crate::vault::ClaimHash;

/// A log and read models in memory. Clones share them, as processes share a database.
#[derive(Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    board: Arc<SignalBoard>,
}

#[derive(Default)]
struct State {
    genesis: Option<Genesis>,
    head: Head,
    events: Vec<Envelope>,
    vault: HashMap<StreamId, (VaultEntry, Vec<ClaimHash>)>,
    first_results: HashMap<ClaimHash, FirstResult>,
    tables: HashMap<&'static str, (Checkpoint, BTreeMap<String, Row>)>,
    switches: HashMap<&'static str, u64>,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the state half written: every change below is made of infallible steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The claims that each stream holds, in order, for tests that compare them with what the events say. Streams
    /// without claims are left out.
    #[must_use]
    pub fn claims(&self) -> BTreeMap<StreamId, Vec<ClaimHash>> {
        let sorted = |claims: &Vec<ClaimHash>| {
            let mut claims = claims.clone();
            claims.sort_unstable();
            claims
        };
        let state = self.state();
        let holders = state.vault.iter().filter(|(_, (_, claims))| !claims.is_empty());
        holders.map(|(stream, (_, claims))| (stream.clone(), sorted(claims))).collect()
    }
}

#[async_trait]
impl Backend for Memory {
    async fn exists(&self) -> Result<bool, StoreError> {
        Ok(self.state().genesis.is_some())
    }

    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError> {
        Ok(self.state().genesis.get_or_insert_with(|| genesis.clone()).clone())
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<Verdict>, CommitError> {
        let mut state = self.state();
        let plan = batch.judge(state.facts(&batch));
        let head = plan.head.position;
        let verdicts = state.write(plan);
        drop(state);
        self.board.raise_head(head);
        Ok(verdicts)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.state().head.clone())
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let state = self.state();
        let within = |event: &&Envelope| {
            event.position > query.after && query.until.is_none_or(|until| event.position <= until)
        };
        let asked = state.events.iter().filter(within).filter(|event| query.matches(event));
        Ok(asked.take(query.limit).cloned().collect())
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let state = self.state();
        let mine = state.events.iter().filter(|event| event.stream == *stream && event.version > after);
        Ok(mine.take(limit).cloned().collect())
    }

    async fn vault(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, VaultEntry>, StoreError> {
        let state = self.state();
        let entry = |stream: &StreamId| Some((stream.clone(), state.vault.get(stream)?.0.clone()));
        Ok(streams.iter().filter_map(entry).collect())
    }

    async fn held(&self, range: &VaultRange) -> Result<Vec<Held>, StoreError> {
        let state = self.state();
        let entry = |stream: &StreamId| {
            let (entry, claims) = state.vault.get(stream)?;
            Some((stream.clone(), entry.clone(), claims.clone()))
        };
        let mut streams: Vec<_> = match range {
            VaultRange::Of(streams) => streams.iter().collect(),
            VaultRange::After(after, _) => state
                .vault
                .keys()
                .filter(|stream| after.as_ref().is_none_or(|after| *stream > after))
                .collect(),
        };
        streams.sort_unstable();
        let limit = if let VaultRange::After(_, limit) = range { *limit } else { usize::MAX };
        Ok(streams.into_iter().filter_map(entry).take(limit).collect())
    }

    async fn first_result(&self, key: ClaimHash) -> Result<Option<FirstResult>, StoreError> {
        Ok(self.state().first_results.get(&key).cloned())
    }

    fn signals(&self) -> watch::Receiver<Signal> {
        self.board.subscribe()
    }
}

impl State {
    fn facts(&self, batch: &Batch) -> Facts {
        let streams = batch.streams();
        let version = |stream: &StreamId| {
            let last = self.events.iter().rev().find(|event| event.stream == *stream)?;
            Some((stream.clone(), last.version))
        };
        let owner = |claim: ClaimHash| {
            let (stream, _) = self.vault.iter().find(|(_, (_, claims))| claims.contains(&claim))?;
            Some((claim, stream.clone()))
        };
        Facts {
            head: self.head.clone(),
            versions: streams.iter().filter_map(version).collect(),
            vault: streams
                .iter()
                .filter_map(|stream| Some((stream.clone(), self.vault.get(stream)?.clone())))
                .collect(),
            owners: batch.claims().into_iter().filter_map(owner).collect(),
            first_results: batch
                .idempotency_keys()
                .into_iter()
                .filter_map(|key| Some((key, self.first_results.get(&key)?.clone())))
                .collect(),
        }
    }

    fn write(&mut self, plan: Plan) -> Vec<Verdict> {
        for (stream, claims) in plan.released {
            if let Some((_, held)) = self.vault.get_mut(&stream) {
                held.retain(|claim| !claims.contains(claim));
            }
        }
        for stream in plan.erased {
            self.vault.insert(stream, (VaultEntry::Erased, Vec::new()));
        }
        for (stream, key, claims) in plan.keyed {
            self.vault.insert(stream, (VaultEntry::Key(key), claims));
        }
        for (stream, claims) in plan.taken {
            if let Some((_, held)) = self.vault.get_mut(&stream) {
                held.extend(claims);
            }
        }
        self.events.extend(plan.events);
        self.first_results.extend(plan.first_results);
        self.head = plan.head;
        plan.verdicts
    }
}

#[async_trait]
impl ReadModels for Memory {
    async fn prepare(&self, table: &'static Table) -> Result<(), StoreError> {
        self.state().tables.entry(table.name).or_default();
        Ok(())
    }

    async fn checkpoint(&self, table: &'static Table) -> Result<Checkpoint, StoreError> {
        Ok(self.state().tables.get(table.name).map(|(checkpoint, _)| *checkpoint).unwrap_or_default())
    }

    async fn rows(&self, table: &'static Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        let state = self.state();
        let Some((_, rows)) = state.tables.get(table.name) else { return Ok(HashMap::new()) };
        Ok(keys.iter().filter_map(|key| Some((key.clone(), rows.get(key)?.clone()))).collect())
    }

    async fn find(
        &self,
        table: &'static Table,
        column: &'static str,
        text: &str,
    ) -> Result<Vec<Row>, StoreError> {
        let state = self.state();
        let Some((_, rows)) = state.tables.get(table.name) else { return Ok(Vec::new()) };
        let has = |row: &&Row| row.get(column).and_then(|value| value.as_str()) == Some(text);
        Ok(rows.values().filter(has).take(100).cloned().collect())
    }

    async fn page(
        &self,
        table: &'static Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let state = self.state();
        let Some((_, rows)) = state.tables.get(table.name) else { return Ok(Vec::new()) };
        let above = |(key, _): &(&String, &Row)| after.is_none_or(|after| key.as_str() > after);
        Ok(rows.iter().filter(above).take(limit).map(|(_, row)| row.clone()).collect())
    }

    async fn apply(
        &self,
        table: &'static Table,
        from: Checkpoint,
        to: Position,
        changes: Vec<Change>,
    ) -> Result<(), ApplyError> {
        let moved = Checkpoint { position: to, ..from };
        changes.iter().filter_map(|change| change.row.as_ref()).try_for_each(|row| table.check(row))?;
        {
            let mut state = self.state();
            let (checkpoint, rows) = state.tables.entry(table.name).or_default();
            if *checkpoint != from {
                return Err(ApplyError::Overtaken);
            }
            *checkpoint = moved;
            for Change { key, row } in changes {
                match row {
                    // Null and absent are the same: one form is kept.
                    Some(row) => {
                        rows.insert(key, row.into_iter().filter(|(_, value)| !value.is_null()).collect())
                    }
                    None => rows.remove(&key),
                };
            }
        }
        self.board.raise_checkpoint(table.name, moved);
        Ok(())
    }

    async fn switches(&self, pair: &'static Pair) -> Result<u64, StoreError> {
        let switches = self.state().switches.get(pair.name).copied().unwrap_or_default();
        self.board.raise_checkpoint(pair.name, switched(switches));
        Ok(switches)
    }

    async fn reset(&self, pair: &'static Pair, switches: u64) -> Result<Checkpoint, ApplyError> {
        let table = pair.idle(switches);
        let emptied = {
            let mut state = self.state();
            if state.switches.get(pair.name).copied().unwrap_or_default() != switches {
                return Err(ApplyError::Overtaken);
            }
            let (checkpoint, rows) = state.tables.entry(table.name).or_default();
            rows.clear();
            *checkpoint = Checkpoint { rebuilds: checkpoint.rebuilds + 1, position: Position::START };
            *checkpoint
        };
        self.board.raise_checkpoint(table.name, emptied);
        Ok(emptied)
    }

    async fn switch(&self, pair: &'static Pair, switches: u64) -> Result<(), ApplyError> {
        {
            let mut state = self.state();
            let position =
                |table: &Table| state.tables.get(table.name).map(|(checkpoint, _)| checkpoint.position);
            let as_far = position(pair.idle(switches)) >= position(pair.live(switches));
            if state.switches.get(pair.name).copied().unwrap_or_default() != switches || !as_far {
                return Err(ApplyError::Overtaken);
            }
            state.switches.insert(pair.name, switches + 1);
        }
        self.board.raise_checkpoint(pair.name, switched(switches + 1));
        Ok(())
    }
}

/// How the number of switches stands among the checkpoints.
fn switched(switches: u64) -> Checkpoint {
    Checkpoint { rebuilds: switches, position: Position::START }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::conformance::{Fixture, Handle};

    struct Shared(Memory);

    #[async_trait]
    impl Fixture for Shared {
        async fn open(&self) -> Handle {
            Handle::of(self.0.clone())
        }
    }

    crate::conformance!(promises, std::future::ready(Shared(Memory::default())));
}
