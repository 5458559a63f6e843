//! The reference backend: everything in memory, one lock, no I/O. It is the shortest true statement of what a backend
//! has to do, and what tests run on when no database matters.

mod deliveries;
mod keys;
mod leases;
mod rows;
mod tiles;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::backend::{
    Backend, CommitError, EventQuery, Facts, Genesis, Head, Held, Plan, VaultEntry, Verdict,
};
use crate::deliveries::{Attempt, Progress};
use crate::error::StoreError;
use crate::event::{Envelope, StreamId};
use crate::idempotency::FirstResult;
use crate::judge::Batch;
use crate::rows::{Checkpoint, Row};
use crate::signal::{Signal, SignalBoard};
use crate::tiles::Tiles;
use crate::vault::{ClaimHash, MasterKey};
use crate::versions::Versions;

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
    tables: HashMap<Arc<str>, (Checkpoint, BTreeMap<String, Row>)>,
    versions: HashMap<String, Versions>,
    leases: BTreeMap<String, leases::Held>,
    tiles: Tiles,
    deliveries: HashMap<StreamId, (Progress, Vec<Attempt>)>,
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

    async fn held(&self, streams: &[StreamId]) -> Result<Vec<Held>, StoreError> {
        let state = self.state();
        let entry = |stream: &StreamId| {
            let (entry, claims) = state.vault.get(stream)?;
            Some((stream.clone(), entry.clone(), claims.clone()))
        };
        Ok(streams.iter().filter_map(entry).collect())
    }

    async fn holders(&self, after: Option<&StreamId>, limit: usize) -> Result<Vec<StreamId>, StoreError> {
        let state = self.state();
        let mut streams: Vec<_> =
            state.vault.keys().filter(|stream| after.is_none_or(|after| *stream > after)).collect();
        streams.sort_unstable();
        Ok(streams.into_iter().take(limit).cloned().collect())
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
            wrapping: self.genesis.as_ref().and_then(|genesis| MasterKey::id_of(&genesis.signing_key)),
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
