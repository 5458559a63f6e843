//! The reference backend: everything in memory, behind one lock, without I/O.
//!
//! It is the shortest implementation of the ports, and the backend of tests that need no database.

mod deliveries;
mod keys;
mod leases;
mod recorded_results;
mod rows;
mod sessions;
mod tiles;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::append::AppendResult;
use crate::backend::{Backend, CommitError, EventQuery, FIRST_EPOCH, Genesis};
use crate::commit_planner::{Batch, CommitPlan, Preconditions};
use crate::deliveries::{Attempt, DeliveryProgress};
use crate::error::{StoreError, WriteError};
use crate::event::{Envelope, StreamId};
use crate::head::Head;
use crate::idempotency::RecordedResult;
use crate::key_store::{ClaimBackfill, ClaimHash, ClaimReplacement, KeyEntry, MasterKey, StreamKeyEntry};
use crate::lock::lock;
use crate::progress::{ProgressTracker, StoreProgress};
use crate::rows::{ProjectionCheckpoint, Row};
use crate::sessions::SessionRecord;
use crate::tiles::Tiles;
use crate::versions::ProjectionVersions;

use self::recorded_results::RecordedResults;

/// A log and read models in memory. Clones share them like processes that share a database.
#[derive(Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    tracker: Arc<ProgressTracker>,
}

#[derive(Default)]
struct State {
    genesis: Option<Genesis>,
    /// Service keys that were added after the genesis.
    added_keys: BTreeMap<String, Vec<u8>>,
    epoch: Option<u64>,
    claim_backfill: Option<ClaimBackfill>,
    head: Head,
    events: Vec<Envelope>,
    key_entries: HashMap<StreamId, (KeyEntry, Vec<ClaimHash>)>,
    recorded_results: RecordedResults,
    tables: HashMap<Arc<str>, (ProjectionCheckpoint, BTreeMap<String, Row>)>,
    versions: HashMap<String, ProjectionVersions>,
    leases: BTreeMap<String, LeaseState>,
    /// By how much the clock by which leases expire is ahead.
    clock_ahead: Duration,
    tiles: Tiles,
    deliveries: HashMap<StreamId, (DeliveryProgress, Vec<Attempt>)>,
    sessions: BTreeMap<Uuid, SessionRecord>,
}

/// A lease as it is stored.
struct LeaseState {
    holder: String,
    until: Instant,
    report: Value,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change consists of infallible steps, so none is left half-written.
        lock(&self.state)
    }

    /// Sets the clock by which leases expire, as a failover to a server with another clock does.
    pub fn set_clock_ahead(&self, by: Duration) {
        self.state().clock_ahead = by;
    }

    /// The claims that each stream owns, sorted, for tests that compare them with the events. Streams without
    /// claims are omitted.
    #[must_use]
    pub fn claims(&self) -> BTreeMap<StreamId, Vec<ClaimHash>> {
        let sorted = |claims: &Vec<ClaimHash>| {
            let mut claims = claims.clone();
            claims.sort_unstable();
            claims
        };
        let state = self.state();
        let holders = state.key_entries.iter().filter(|(_, (_, claims))| !claims.is_empty());
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

    async fn epoch(&self) -> Result<u64, StoreError> {
        Ok(self.state().epoch.unwrap_or(FIRST_EPOCH))
    }

    async fn set_epoch(&self, epoch: u64) -> Result<(), StoreError> {
        self.state().epoch = Some(epoch);
        Ok(())
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError> {
        let mut state = self.state();
        let plan = batch.plan(state.preconditions(&batch));
        let (head, at) = (plan.head.position, plan.head.at);
        let results = state.write(plan);
        drop(state);
        self.tracker.advance_head(head);
        self.tracker.observe_head_time(at);
        Ok(results)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.state().head.clone())
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let state = self.state();
        let within = |event: &&Envelope| {
            event.position > query.after && query.until.is_none_or(|until| event.position <= until)
        };
        let selected = state.events.iter().filter(within).filter(|event| query.matches(event));
        Ok(selected.take(query.limit).cloned().collect())
    }

    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let state = self.state();
        let mine = state.events.iter().filter(|event| event.stream == *stream && event.version > after);
        Ok(mine.take(limit).cloned().collect())
    }

    async fn stream_backwards(
        &self,
        stream: &StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Envelope>, StoreError> {
        let state = self.state();
        let is_earlier = |event: &&Envelope| before.is_none_or(|before| event.version < before);
        let mine = state.events.iter().rev().filter(|event| event.stream == *stream).filter(is_earlier);
        Ok(mine.take(limit).cloned().collect())
    }

    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
        let state = self.state();
        let entry = |stream: &StreamId| Some((stream.clone(), state.key_entries.get(stream)?.0.clone()));
        Ok(streams.iter().filter_map(entry).collect())
    }

    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError> {
        let state = self.state();
        let entry = |stream: &StreamId| {
            let (entry, claims) = state.key_entries.get(stream)?;
            Some((stream.clone(), entry.clone(), claims.clone()))
        };
        Ok(streams.iter().filter_map(entry).collect())
    }

    async fn claim_owners(&self, claims: &[ClaimHash]) -> Result<HashMap<ClaimHash, StreamId>, StoreError> {
        let state = self.state();
        Ok(claims.iter().filter_map(|claim| Some((*claim, state.owner(*claim)?.clone()))).collect())
    }

    async fn replace_claims(&self, replacements: &[ClaimReplacement]) -> Result<(), StoreError> {
        let mut state = self.state();
        for ClaimReplacement { stream, from, to } in replacements {
            let is_free = |claim: &ClaimHash| state.owner(*claim).is_none_or(|owner| owner == stream);
            if to.iter().all(is_free)
                && let Some((KeyEntry::Key(_), claims)) = state.key_entries.get_mut(stream)
                && claims == from
            {
                claims.clone_from(to);
            }
        }
        Ok(())
    }

    async fn claim_backfill(&self) -> Result<Option<ClaimBackfill>, StoreError> {
        Ok(self.state().claim_backfill.clone())
    }

    async fn set_claim_backfill(
        &self,
        from: Option<&ClaimBackfill>,
        to: &ClaimBackfill,
    ) -> Result<(), WriteError> {
        let mut state = self.state();
        if state.claim_backfill.as_ref() != from {
            return Err(WriteError::Conflict);
        }
        state.claim_backfill = Some(to.clone());
        Ok(())
    }

    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let state = self.state();
        let mut streams: Vec<_> =
            state.key_entries.keys().filter(|stream| after.is_none_or(|after| *stream > after)).collect();
        streams.sort_unstable();
        Ok(streams.into_iter().take(limit).cloned().collect())
    }

    async fn recorded_result(&self, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError> {
        Ok(self.state().recorded_results.get(key))
    }

    fn watch_progress(&self) -> watch::Receiver<StoreProgress> {
        self.tracker.subscribe()
    }
}

impl State {
    fn preconditions(&self, batch: &Batch) -> Preconditions {
        let streams = batch.streams();
        let version = |stream: &StreamId| {
            let last = self.events.iter().rev().find(|event| event.stream == *stream)?;
            Some((stream.clone(), last.version))
        };
        let owner = |claim: ClaimHash| Some((claim, self.owner(claim)?.clone()));
        Preconditions {
            head: self.head.clone(),
            database_time: None,
            versions: streams.iter().filter_map(version).collect(),
            key_entries: streams
                .iter()
                .filter_map(|stream| Some((stream.clone(), self.key_entries.get(stream)?.clone())))
                .collect(),
            owners: batch.claims().into_iter().filter_map(owner).collect(),
            recorded_results: batch
                .idempotency_keys()
                .into_iter()
                .filter_map(|key| Some((key, self.recorded_results.get(key)?)))
                .collect(),
            wrapping_key: self.genesis.as_ref().and_then(|genesis| MasterKey::id_of(&genesis.signing_key)),
        }
    }

    fn owner(&self, claim: ClaimHash) -> Option<&StreamId> {
        let owner = self.key_entries.iter().find(|(_, (_, claims))| claims.contains(&claim));
        owner.map(|(stream, _)| stream)
    }

    fn write(&mut self, plan: CommitPlan) -> Vec<AppendResult> {
        for (stream, claims) in plan.released {
            if let Some((_, held)) = self.key_entries.get_mut(&stream) {
                held.retain(|claim| !claims.contains(claim));
            }
        }
        for stream in plan.erased {
            self.deliveries.remove(&stream);
            self.key_entries.insert(stream, (KeyEntry::Erased, Vec::new()));
        }
        for (stream, key, claims) in plan.new_keys {
            self.key_entries.insert(stream, (KeyEntry::Key(key), claims));
        }
        for (stream, claims) in plan.taken {
            if let Some((_, held)) = self.key_entries.get_mut(&stream) {
                held.extend(claims);
            }
        }
        for (stream, ended) in plan.ended_sessions {
            self.end_sessions(&stream, ended);
        }
        self.events.extend(plan.events);
        self.recorded_results.record(plan.recorded_results);
        self.head = plan.head;
        plan.results
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::conformance::{BackendHandle, Fixture};

    struct Shared(Memory);

    #[async_trait]
    impl Fixture for Shared {
        async fn open(&self) -> BackendHandle {
            BackendHandle::new(self.0.clone())
        }
    }

    crate::conformance!(in_memory, std::future::ready(Shared(Memory::default())));
}
