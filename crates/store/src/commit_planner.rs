//! Plans the commit of a batch: which appends are accepted (optimistic concurrency by expected versions,
//! unique claims, idempotency), and what has to be written.
//!
//! A pure function, the same for every backend. Each append is accepted or rejected by itself, also because
//! of an earlier append of the same batch. Reading the [`Preconditions`] and writing the [`CommitPlan`], both
//! inside one transaction, belongs in the [backends](crate::backend::Backend).

mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::append::{AppendError, AppendResult, Appended, ExpectedVersion};
use crate::canonical::canonical_event;
use crate::checkpoint::Signer;
use crate::error::{Corruption, StoreError};
use crate::event::{Envelope, StreamId};
use crate::head::Head;
use crate::idempotency::RecordedResult;
use crate::key_store::{ClaimHash, KeyEntry, KeyId, MasterKey};
use crate::log_time::CommitTime;
use crate::merkle::leaf_hash;
use crate::prepared::{EventPlacement, KeyUse, PreparedAppend, PreparedGuard, PreparedWrite};
use crate::sessions::EndSessions;

pub use plan::{CommitPlan, Preconditions};

/// Appends that are committed in one transaction (group commit).
///
/// The core of a backend's commit, here of one without a key store and without idempotency keys:
///
/// ```
/// use std::collections::HashMap;
///
/// use store::append::AppendResult;
/// use store::commit_planner::{Batch, Preconditions};
/// use store::{Envelope, Head, StreamId};
///
/// #[derive(Default)]
/// struct Log {
///     head: Head,
///     versions: HashMap<StreamId, u64>,
///     events: Vec<Envelope>,
/// }
///
/// /// Everything here belongs in one transaction: otherwise the versions could change before the write.
/// fn commit(log: &mut Log, batch: &Batch) -> Vec<AppendResult> {
///     let version = |stream: StreamId| log.versions.get(&stream).map(|version| (stream.clone(), *version));
///     let preconditions = Preconditions {
///         head: log.head.clone(),
///         versions: batch.streams().into_iter().filter_map(version).collect(),
///         ..Preconditions::default()
///     };
///     let plan = batch.plan(preconditions);
///     for event in plan.events {
///         log.versions.insert(event.stream.clone(), event.version);
///         log.events.push(event);
///     }
///     log.head = plan.head;
///     // Of several appends that expect the same version, one is `Ok`; the others are conflicts.
///     plan.results
/// }
/// # let signer = store::checkpoint::Signer::new(uuid::Uuid::nil(), &[7; 32]).unwrap();
/// # let batch = Batch::new(Vec::new(), jiff::Timestamp::UNIX_EPOCH, std::sync::Arc::new(signer));
/// # let mut log = Log::default();
/// # assert!(commit(&mut log, &batch).is_empty());
/// # assert_eq!(log.head, Head::default());
/// ```
pub struct Batch {
    appends: Vec<PreparedAppend>,
    time: CommitTime,
    signer: Arc<Signer>,
}

impl Batch {
    /// A batch of appends in their order of arrival. Events get the given time, or that of the head if it is
    /// later.
    #[must_use]
    pub fn new(appends: Vec<PreparedAppend>, time: impl Into<CommitTime>, signer: Arc<Signer>) -> Self {
        Self { appends, time: time.into(), signer }
    }

    /// The streams whose version and key entry [`Batch::plan`] needs: those written to, their key owners, and those
    /// of guards.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamId> {
        let guarded = self.guards().filter_map(|guard| match guard {
            PreparedGuard::NotErased(stream) | PreparedGuard::AtVersion(stream, _) => Some(stream),
            PreparedGuard::Unclaimed(..) => None,
        });
        let written = self.writes().flat_map(|write| [write.stream.clone(), write.stream.key_owner()]);
        let names: BTreeSet<_> = written.chain(guarded.cloned()).collect();
        names.into_iter().collect()
    }

    /// The claims whose owner [`Batch::plan`] needs.
    #[must_use]
    pub fn claims(&self) -> Vec<ClaimHash> {
        let taken = |write: &PreparedWrite| write.take.iter().map(|(_, claim)| *claim).collect::<Vec<_>>();
        let written = self
            .writes()
            .flat_map(|write| [taken(write), write.take_if_free.clone(), write.release.clone()].concat());
        let guarded = self.guards().filter_map(|guard| match guard {
            PreparedGuard::Unclaimed(_, claim) => Some(*claim),
            PreparedGuard::NotErased(_) | PreparedGuard::AtVersion(..) => None,
        });
        let claims: BTreeSet<_> = written.chain(guarded).collect();
        claims.into_iter().collect()
    }

    /// The idempotency keys whose recorded results [`Batch::plan`] needs.
    #[must_use]
    pub fn idempotency_keys(&self) -> Vec<ClaimHash> {
        let keys: BTreeSet<_> =
            self.appends.iter().filter_map(|append| Some(append.idempotency?.hash())).collect();
        keys.into_iter().collect()
    }

    /// Whether streams get data keys, so that [`Batch::plan`] needs to know the master key that must wrap
    /// them.
    #[must_use]
    pub fn creates_keys(&self) -> bool {
        self.writes().any(|write| matches!(write.key, KeyUse::New(_)))
    }

    /// Plans the commit. Of two conflicting appends, the earlier one is accepted. Appends whose callers have
    /// timed out are rejected; the others cannot be cancelled from here on, so a backend calls this inside
    /// the transaction that writes the plan.
    #[must_use]
    pub fn plan(&self, preconditions: Preconditions) -> CommitPlan {
        let now = self.time.resolve(preconditions.database_time);
        let mut state = BatchState::new(preconditions, now);
        let plan = |append: &PreparedAppend| {
            if append.cancellation.begin() { state.accept(append) } else { Err(AppendError::Busy) }
        };
        let results = self.appends.iter().map(plan).collect();
        state.into_plan(results, &self.signer)
    }

    fn writes(&self) -> impl Iterator<Item = &PreparedWrite> {
        self.appends.iter().flat_map(|append| &append.writes)
    }

    fn guards(&self) -> impl Iterator<Item = &PreparedGuard> {
        self.appends.iter().flat_map(|append| &append.guards)
    }
}

/// The state of the store after the appends accepted so far.
struct BatchState {
    owners_before: HashMap<ClaimHash, StreamId>,
    erased_before: BTreeSet<StreamId>,
    head: Head,
    at: Timestamp,
    versions: HashMap<StreamId, u64>,
    keys: HashMap<StreamId, KeyEntry>,
    new_keys: BTreeMap<StreamId, Vec<u8>>,
    owners: HashMap<ClaimHash, Option<StreamId>>,
    ended_sessions: Vec<(StreamId, EndSessions)>,
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
            ended_sessions: Vec::new(),
            events: Vec::new(),
            recorded_results: preconditions.recorded_results,
            results_to_record: Vec::new(),
            wrapping_key: preconditions.wrapping_key,
        }
    }

    /// Accepts an append as a whole, or rejects it and changes nothing.
    fn accept(&mut self, append: &PreparedAppend) -> AppendResult {
        // First: a repeated request would otherwise conflict with its own changes.
        self.check_idempotency(append)?;
        for write in &append.writes {
            self.check_stream(write)?;
        }
        self.check_claims(append)?;
        self.check_guards(append)?;
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
        let recorded = append.idempotency.and_then(|key| self.recorded_results.get(&key.hash()));
        if recorded.is_some_and(|recorded| recorded.is_retained(self.at)) {
            Err(AppendError::DuplicateRequest)
        } else {
            Ok(())
        }
    }

    fn record_result(&mut self, append: &PreparedAppend) {
        if let (Some(key), Some(write)) = (append.idempotency, append.writes.first()) {
            let version = self.version(&write.stream);
            let (stream, position) = (write.stream.clone(), self.head.position);
            let result = RecordedResult::new(&key, stream, version, position, self.at);
            self.recorded_results.insert(key.hash(), result.clone());
            self.results_to_record.push((key.hash(), result));
        }
    }

    fn version(&self, stream: &StreamId) -> u64 {
        self.versions.get(stream).copied().unwrap_or(0)
    }

    fn check_stream(&self, write: &PreparedWrite) -> Result<(), AppendError> {
        let (stream, owner) = (write.stream.clone(), write.stream.key_owner());
        let actual = self.version(&stream);
        let conflict = AppendError::Conflict { stream: stream.clone(), expected: write.expected, actual };
        match (self.keys.get(&owner), &write.key) {
            (Some(KeyEntry::Erased), _) => Err(AppendError::Erased { stream: owner }),
            // Corruption: a stream gets its key with its first event. A conflict would be retried forever.
            (Some(KeyEntry::Key(_)), _) if self.version(&owner) == 0 => {
                Err(StoreError::from(Corruption::KeyWithoutEvents { stream: owner }).into())
            }
            (None, _) if !stream.owns_key() => Err(AppendError::no_key_owner(&stream)),
            // The stream got another data key, or lost it, since the encryption: encrypt again.
            (Some(KeyEntry::Key(_)), KeyUse::New(_)) | (None, KeyUse::Existing) => Err(conflict),
            _ if !write.expected.holds(actual) => Err(conflict),
            (None, _) if write.erase => {
                Err(AppendError::Invalid(format!("stream {stream} has no data key to destroy")))
            }
            (None, KeyUse::New(wrapped)) => self.check_wrapped(wrapped),
            _ => Ok(()),
        }
    }

    /// A rotation rewraps all keys that exist when it begins, so later keys must use the new master key.
    fn check_wrapped(&self, wrapped: &[u8]) -> Result<(), AppendError> {
        match self.wrapping_key {
            Some(master) if MasterKey::id_of(wrapped) != Some(master) => {
                Err(AppendError::WrappingKeyRotated { master })
            }
            _ => Ok(()),
        }
    }

    /// Claims must be free, or released by the same append, which lets two users swap theirs.
    fn check_claims(&self, append: &PreparedAppend) -> Result<(), AppendError> {
        let mut taken: HashMap<ClaimHash, &StreamId> = HashMap::new();
        for write in &append.writes {
            for (kind, claim) in &write.take {
                let free = match self.owners.get(claim) {
                    Some(Some(owner)) => *owner == write.stream || releases(append, owner, claim),
                    Some(None) | None => true,
                };
                let once = taken.insert(*claim, &write.stream).is_none_or(|other| *other == write.stream);
                if !free || !once {
                    return Err(AppendError::ClaimTaken { kind });
                }
            }
        }
        Ok(())
    }

    /// Guards on claims and erasures hold after the append: a claim that it frees is free, and a stream that
    /// it erases is erased. Guards on versions hold before it.
    fn check_guards(&self, append: &PreparedAppend) -> Result<(), AppendError> {
        let is_erased = |stream: &StreamId| self.keys.get(stream) == Some(&KeyEntry::Erased);
        let erases =
            |stream: &StreamId| append.writes.iter().any(|write| write.erase && write.stream == *stream);
        for guard in &append.guards {
            match guard {
                PreparedGuard::NotErased(stream) if is_erased(stream) || erases(stream) => {
                    return Err(AppendError::Erased { stream: stream.clone() });
                }
                PreparedGuard::Unclaimed(kind, claim) if self.is_claimed_after(append, claim) => {
                    return Err(AppendError::ClaimTaken { kind });
                }
                PreparedGuard::AtVersion(stream, version) => self.check_version(stream, *version)?,
                PreparedGuard::NotErased(_) | PreparedGuard::Unclaimed(..) => {}
            }
        }
        Ok(())
    }

    fn check_version(&self, stream: &StreamId, version: u64) -> Result<(), AppendError> {
        let (expected, actual) = (ExpectedVersion::version(version), self.version(stream));
        if expected.holds(actual) {
            return Ok(());
        }
        Err(AppendError::Conflict { stream: stream.clone(), expected, actual })
    }

    fn is_claimed_after(&self, append: &PreparedAppend, claim: &ClaimHash) -> bool {
        let takes = |write: &PreparedWrite| {
            write.take.iter().any(|(_, taken)| taken == claim) || write.take_if_free.contains(claim)
        };
        let owner = self.owners.get(claim).and_then(Option::as_ref);
        append.writes.iter().any(takes) || owner.is_some_and(|owner| !releases(append, owner, claim))
    }

    /// The events of an append with positions, versions and leaf hashes.
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
        let is_owner = |owner: &Option<StreamId>| owner.as_ref() == Some(&write.stream);
        for claim in &write.release {
            // An earlier write of the same append may have taken it already.
            if let Some(owner) = self.owners.get_mut(claim).filter(|owner| is_owner(owner)) {
                *owner = None;
            }
        }
        for claim in &write.take_if_free {
            self.owners.entry(*claim).or_default().get_or_insert_with(|| write.stream.clone());
        }
        for (_, claim) in &write.take {
            self.owners.insert(*claim, Some(write.stream.clone()));
        }
        let ended = if write.erase { EndSessions::All } else { write.end_sessions.clone() };
        if ended != EndSessions::None {
            self.ended_sessions.push((write.stream.clone(), ended));
        }
        if write.erase {
            self.keys.insert(write.stream.clone(), KeyEntry::Erased);
            for owner in self.owners.values_mut().filter(|owner| is_owner(owner)) {
                *owner = None;
            }
        }
    }

    /// Compares the final state with the initial one: only differences are written.
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
            ended_sessions: self.ended_sessions,
            events: self.events,
            recorded_results: self.results_to_record,
            head: self.head,
        }
    }

    /// The claims that each stream has released and taken in the end.
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
        let is_new = |stream: &StreamId| !self.erased_before.contains(stream);
        let erased = self.keys.iter().filter(|(_, entry)| **entry == KeyEntry::Erased);
        erased.map(|(stream, _)| stream).filter(|stream| is_new(stream)).cloned().collect()
    }
}

type ClaimsByStream = BTreeMap<StreamId, Vec<ClaimHash>>;

fn releases(append: &PreparedAppend, owner: &StreamId, claim: &ClaimHash) -> bool {
    append.writes.iter().any(|write| write.stream == *owner && (write.erase || write.release.contains(claim)))
}

#[cfg(test)]
mod tests;
