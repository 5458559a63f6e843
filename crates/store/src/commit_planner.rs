//! Judging a batch: which of its appends happen, and what then has to be written. Pure, and the same for every
//! backend, which only fetches the [`Preconditions`] and writes the [`CommitPlan`], both inside one transaction. Losers are refused
//! one by one, also those that lose against an earlier append of the same batch; the others go through.

mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::append::{AppendError, AppendResult, Appended};
use crate::canonical::canonical_event;
use crate::checkpoint::Signer;
use crate::error::{Corruption, StoreError};
use crate::event::{Envelope, StreamId};
use crate::head::Head;
use crate::idempotency::RecordedResult;
use crate::key_store::{ClaimHash, KeyEntry, KeyId, MasterKey};
use crate::merkle::leaf_hash;
use crate::prepared::{EventPlacement, KeyUse, PreparedAppend, PreparedWrite};

pub use plan::{CommitPlan, Preconditions};

/// Appends that are committed in one transaction.
pub struct Batch {
    appends: Vec<PreparedAppend>,
    now: Timestamp,
    signer: Arc<Signer>,
}

impl Batch {
    /// The appends, in the order they came; the moment they are stamped with, unless the log is already past it; and
    /// who signs the head.
    #[must_use]
    pub fn new(appends: Vec<PreparedAppend>, now: Timestamp, signer: Arc<Signer>) -> Self {
        Self { appends, now, signer }
    }

    /// The streams whose version and vault entry [`Batch::plan`] needs.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamId> {
        let names: BTreeSet<_> = self.writes().map(|write| &write.stream).collect();
        names.into_iter().cloned().collect()
    }

    /// The claims whose owner [`Batch::plan`] needs.
    #[must_use]
    pub fn claims(&self) -> Vec<ClaimHash> {
        let taken = |write: &PreparedWrite| write.take.iter().map(|(_, claim)| *claim).collect::<Vec<_>>();
        let claims: BTreeSet<_> =
            self.writes().flat_map(|write| [taken(write), write.release.clone()].concat()).collect();
        claims.into_iter().collect()
    }

    /// The idempotency keys whose first results [`Batch::plan`] needs.
    #[must_use]
    pub fn idempotency_keys(&self) -> Vec<ClaimHash> {
        let keys: BTreeSet<_> =
            self.appends.iter().filter_map(|append| Some(append.idempotency?.hash())).collect();
        keys.into_iter().collect()
    }

    /// Whether streams get their keys, so that [`Batch::plan`] needs to know which master key wraps them.
    #[must_use]
    pub fn creates_keys(&self) -> bool {
        self.writes().any(|write| matches!(write.key, KeyUse::New(_)))
    }

    /// Decides what happens. Of two appends that exclude each other, the earlier one wins.
    #[must_use]
    pub fn plan(&self, preconditions: Preconditions) -> CommitPlan {
        let mut state = BatchState::new(preconditions, self.now);
        let results = self.appends.iter().map(|append| state.accept(append)).collect();
        state.into_plan(results, &self.signer)
    }

    fn writes(&self) -> impl Iterator<Item = &PreparedWrite> {
        self.appends.iter().flat_map(|append| &append.writes)
    }
}

/// The state of the store as the batch changes it, append by append.
struct BatchState {
    owners_before: HashMap<ClaimHash, StreamId>,
    erased_before: BTreeSet<StreamId>,
    head: Head,
    at: Timestamp,
    versions: HashMap<StreamId, u64>,
    keys: HashMap<StreamId, KeyEntry>,
    new_keys: BTreeMap<StreamId, Vec<u8>>,
    owners: HashMap<ClaimHash, Option<StreamId>>,
    events: Vec<Envelope>,
    recorded_results: HashMap<ClaimHash, RecordedResult>,
    results_to_record: Vec<(ClaimHash, RecordedResult)>,
    wrapping_key: Option<KeyId>,
}

impl BatchState {
    fn new(preconditions: Preconditions, now: Timestamp) -> Self {
        let mut owners_before = preconditions.owners;
        let mut keys = HashMap::new();
        for (stream, (entry, claims)) in preconditions.key_entries {
            owners_before.extend(claims.into_iter().map(|claim| (claim, stream.clone())));
            keys.insert(stream, entry);
        }
        let is_erased =
            |(stream, entry): (&StreamId, &KeyEntry)| (*entry == KeyEntry::Erased).then(|| stream.clone());
        Self {
            at: now.max(preconditions.head.at),
            head: preconditions.head,
            versions: preconditions.versions,
            erased_before: keys.iter().filter_map(is_erased).collect(),
            keys,
            new_keys: BTreeMap::new(),
            owners: owners_before.iter().map(|(claim, owner)| (*claim, Some(owner.clone()))).collect(),
            owners_before,
            events: Vec::new(),
            recorded_results: preconditions.recorded_results,
            results_to_record: Vec::new(),
            wrapping_key: preconditions.wrapping_key,
        }
    }

    /// Takes an append in whole, or refuses it and changes nothing.
    fn accept(&mut self, append: &PreparedAppend) -> AppendResult {
        // Before all else: what the first append has changed must not speak against the second.
        self.check_idempotency(append)?;
        for write in &append.writes {
            self.check_stream(write)?;
        }
        self.check_claims(append)?;
        let mut events = self.assign_positions(append)?;
        for write in &append.writes {
            self.apply(write);
        }
        for event in &events {
            self.head.frontier.push(event.leaf);
        }
        self.head.position = events.last().map_or(self.head.position, |event| event.position);
        self.events.append(&mut events);
        self.record_result(append);
        Ok(Appended {
            position: self.head.position,
            at: self.at,
            versions: append.writes.iter().map(|write| self.version(&write.stream)).collect(),
        })
    }

    fn check_idempotency(&self, append: &PreparedAppend) -> Result<(), AppendError> {
        let first = append.idempotency.and_then(|key| self.recorded_results.get(&key.hash()));
        if first.is_some_and(|first| first.is_retained(self.at)) {
            Err(AppendError::DuplicateRequest)
        } else {
            Ok(())
        }
    }

    fn record_result(&mut self, append: &PreparedAppend) {
        if let (Some(key), Some(write)) = (append.idempotency, append.writes.first()) {
            let result = RecordedResult {
                request: key.request,
                stream: write.stream.clone(),
                version: self.version(&write.stream),
                position: self.head.position,
                at: self.at,
            };
            self.recorded_results.insert(key.hash(), result.clone());
            self.results_to_record.push((key.hash(), result));
        }
    }

    fn version(&self, stream: &StreamId) -> u64 {
        self.versions.get(stream).copied().unwrap_or(0)
    }

    fn check_stream(&self, write: &PreparedWrite) -> Result<(), AppendError> {
        let stream = write.stream.clone();
        let actual = self.version(&stream);
        let conflict = AppendError::Conflict { stream: stream.clone(), expected: write.expected, actual };
        match (self.keys.get(&stream), &write.key) {
            (Some(KeyEntry::Erased), _) => Err(AppendError::Erased { stream }),
            // A stream gets its key together with its first event. Called a conflict, this would be tried forever.
            (Some(KeyEntry::Key(_)), _) if actual == 0 => {
                Err(StoreError::from(Corruption::KeyWithoutEvents { stream }).into())
            }
            // Sealed under a key that is not the stream's: somebody was quicker, so it has to be sealed anew.
            (Some(KeyEntry::Key(_)), KeyUse::New(_)) | (None, KeyUse::Existing) => Err(conflict),
            _ if !write.expected.holds(actual) => Err(conflict),
            (None, _) if write.erase => Err(AppendError::Invalid(format!(
                "stream {stream} has no personal data: there is nothing to erase"
            ))),
            (None, KeyUse::New(wrapped)) => self.check_wrapped(wrapped),
            _ => Ok(()),
        }
    }

    /// A rotation of the master key that has begun finds every key of before. So none may come later.
    fn check_wrapped(&self, wrapped: &[u8]) -> Result<(), AppendError> {
        match self.wrapping_key {
            Some(master) if MasterKey::id_of(wrapped) != Some(master) => {
                Err(AppendError::WrappingKeyRotated { master })
            }
            _ => Ok(()),
        }
    }

    /// Claims must be free, or be given back by the same append: that is how two users swap theirs.
    fn check_claims(&self, append: &PreparedAppend) -> Result<(), AppendError> {
        let mut taken: HashMap<ClaimHash, &StreamId> = HashMap::new();
        for write in &append.writes {
            for (kind, claim) in &write.take {
                let free = match self.owners.get(claim) {
                    Some(Some(owner)) => *owner == write.stream || releases(append, owner, claim),
                    Some(None) | None => true,
                };
                let first = taken.insert(*claim, &write.stream).is_none_or(|other| *other == write.stream);
                if !free || !first {
                    return Err(AppendError::ClaimTaken { kind });
                }
            }
        }
        Ok(())
    }

    /// The append's events at their places, with their leaves.
    fn assign_positions(&self, append: &PreparedAppend) -> Result<Vec<Envelope>, AppendError> {
        let mut events = Vec::new();
        let mut position = self.head.position;
        for write in &append.writes {
            for (version, event) in (self.version(&write.stream) + 1..).zip(&write.events) {
                position = position.next();
                let mut event = event.to_envelope(
                    append,
                    &write.stream,
                    EventPlacement { position, version, at: self.at },
                );
                event.leaf = leaf_hash(&canonical_event(&event)?);
                events.push(event);
            }
        }
        Ok(events)
    }

    fn apply(&mut self, write: &PreparedWrite) {
        let added = u64::try_from(write.events.len()).unwrap_or(u64::MAX);
        *self.versions.entry(write.stream.clone()).or_default() += added;
        if let KeyUse::New(wrapped) = &write.key {
            self.keys.insert(write.stream.clone(), KeyEntry::Key(wrapped.clone()));
            self.new_keys.insert(write.stream.clone(), wrapped.clone());
        }
        let mine = |owner: &Option<StreamId>| owner.as_ref() == Some(&write.stream);
        for claim in &write.release {
            // What a write of the same append has just taken from us is no longer ours to give back.
            if let Some(owner) = self.owners.get_mut(claim).filter(|owner| mine(owner)) {
                *owner = None;
            }
        }
        for (_, claim) in &write.take {
            self.owners.insert(*claim, Some(write.stream.clone()));
        }
        if write.erase {
            self.keys.insert(write.stream.clone(), KeyEntry::Erased);
            for owner in self.owners.values_mut().filter(|owner| mine(owner)) {
                *owner = None;
            }
        }
    }

    /// Compares the state after with the state before: only what differs in the end is written.
    fn into_plan(mut self, results: Vec<AppendResult>, signer: &Signer) -> CommitPlan {
        let (mut released, mut taken) = self.claim_changes();
        let erased: Vec<_> = self.newly_erased();
        for stream in &erased {
            released.remove(stream);
            self.new_keys.remove(stream);
        }
        let with_claims = |(stream, key)| {
            let claims = taken.remove(&stream).unwrap_or_default();
            (stream, key, claims)
        };
        let new_keys = self.new_keys.into_iter().map(with_claims).collect();
        if !self.events.is_empty() {
            self.head.at = self.at;
            self.head.root = self.head.frontier.root();
            self.head.note = signer.sign(self.head.position.get(), &self.head.root);
        }
        CommitPlan {
            results,
            released: released.into_iter().collect(),
            erased,
            new_keys,
            taken: taken.into_iter().collect(),
            events: self.events,
            recorded_results: self.results_to_record,
            head: self.head,
        }
    }

    /// The claims that each stream has lost, and won, in the end.
    fn claim_changes(&self) -> (ClaimsByStream, ClaimsByStream) {
        let (mut released, mut taken) = (ClaimsByStream::new(), ClaimsByStream::new());
        for (claim, after) in &self.owners {
            let before = self.owners_before.get(claim);
            if before != after.as_ref() {
                if let Some(stream) = before {
                    released.entry(stream.clone()).or_default().push(*claim);
                }
                if let Some(stream) = after {
                    taken.entry(stream.clone()).or_default().push(*claim);
                }
            }
        }
        (released, taken)
    }

    fn newly_erased(&self) -> Vec<StreamId> {
        let news = |stream: &StreamId| !self.erased_before.contains(stream);
        let erased = self.keys.iter().filter(|(_, entry)| **entry == KeyEntry::Erased);
        erased.map(|(stream, _)| stream).filter(|stream| news(stream)).cloned().collect()
    }
}

type ClaimsByStream = BTreeMap<StreamId, Vec<ClaimHash>>;

fn releases(append: &PreparedAppend, owner: &StreamId, claim: &ClaimHash) -> bool {
    append.writes.iter().any(|write| write.stream == *owner && (write.erase || write.release.contains(claim)))
}

#[cfg(test)]
mod tests;
