//! Conflicts inside one batch: the result of each append, and what is written in the end.

use serde_json::Map;
use uuid::Uuid;

use super::*;
use crate::append::ExpectedVersion;
use crate::cancellation::Cancellation;
use crate::event::Position;
use crate::idempotency::{IdempotencyKey, RETENTION};
use crate::key_store::ClaimKey;
use crate::prepared::PreparedEvent;
use crate::sessions::EndSessions;

mod conflicts;
mod rejected_appends;

/// The number of events in the log before the batch.
const BEFORE: u64 = 3;

/// A log in which `ada` and `bob` each have a key, version 1 and a claim of their own name.
fn log() -> Preconditions {
    let mut preconditions = Preconditions::default();
    for position in 1..=BEFORE {
        preconditions.head.position = Position::new(position);
        preconditions.head.frontier.push([u8::try_from(position).unwrap(); 32]);
    }
    for name in ["ada", "bob"] {
        preconditions.versions.insert(stream(name), 1);
        preconditions.key_entries.insert(stream(name), (KeyEntry::Key(key_of(name)), vec![claim(name)]));
        preconditions.owners.insert(claim(name), stream(name));
    }
    preconditions
}

fn now() -> Timestamp {
    "2026-11-22T08:00:00Z".parse().unwrap()
}

fn stream(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

fn claim(name: &str) -> ClaimHash {
    ClaimKey::new(&[1; 32]).hash("email", name)
}

fn key_of(name: &str) -> Vec<u8> {
    format!("the key of {name}").into_bytes()
}

fn idempotency(key: &str) -> IdempotencyKey {
    IdempotencyKey::new(&ClaimKey::new(&[1; 32]), &[key.as_bytes()], &[b"the request"])
}

/// One event for a stream that has a data key.
fn change(name: &str, version: u64) -> PreparedWrite {
    let event = PreparedEvent {
        id: Uuid::nil(),
        event_type: "Happened".to_owned(),
        schema: 1,
        data: Map::new(),
        sealed: None,
    };
    PreparedWrite {
        stream: stream(name),
        expected: ExpectedVersion::version(version),
        events: vec![event],
        take: Vec::new(),
        take_if_free: Vec::new(),
        release: Vec::new(),
        key: KeyUse::Existing,
        erase: false,
        end_sessions: EndSessions::None,
    }
}

/// The first event of a stream, which gets its data key with it.
fn first(name: &str) -> PreparedWrite {
    PreparedWrite { key: KeyUse::New(key_of(name)), ..change(name, 0) }
}

fn erasure(name: &str, version: u64) -> PreparedWrite {
    PreparedWrite { erase: true, ..change(name, version) }
}

impl PreparedWrite {
    fn taking(mut self, name: &str) -> Self {
        self.take.push(("email", claim(name)));
        self
    }

    fn taking_if_free(mut self, name: &str) -> Self {
        self.take_if_free.push(claim(name));
        self
    }

    fn releasing(mut self, name: &str) -> Self {
        self.release.push(claim(name));
        self
    }
}

fn append(writes: impl IntoIterator<Item = PreparedWrite>) -> PreparedAppend {
    PreparedAppend {
        actor: "system".to_owned(),
        request_id: "test".to_owned(),
        writes: writes.into_iter().collect(),
        guards: Vec::new(),
        idempotency: None,
        bytes: 0,
        cancellation: Cancellation::default(),
    }
}

impl PreparedAppend {
    fn guarded(self, guards: impl IntoIterator<Item = PreparedGuard>) -> Self {
        Self { guards: guards.into_iter().collect(), ..self }
    }

    fn under(self, key: &str) -> Self {
        Self { idempotency: Some(idempotency(key)), ..self }
    }
}

fn plan_batch(preconditions: Preconditions, appends: impl IntoIterator<Item = PreparedAppend>) -> CommitPlan {
    let signer = Signer::new(Uuid::nil(), &[7; 32]).unwrap();
    Batch::new(appends.into_iter().collect(), now(), Arc::new(signer)).plan(preconditions)
}

/// The result of each append: position and versions, or the error.
fn results(plan: &CommitPlan) -> Vec<Result<(u64, &[u64]), &AppendError>> {
    plan.results
        .iter()
        .map(|result| result.as_ref().map(|done| (done.position.get(), done.versions.as_slice())))
        .collect()
}

/// Position, stream and version of each event that is written.
fn written(plan: &CommitPlan) -> Vec<(u64, &str, u64)> {
    plan.events.iter().map(|event| (event.position.get(), event.stream.as_str(), event.version)).collect()
}

/// The owners of claims once the plan is written in the order that [`crate::backend::Backend::commit`]
/// prescribes. A claim never has two owners in between.
fn owners(mut owners: BTreeMap<ClaimHash, StreamId>, plan: &CommitPlan) -> BTreeMap<ClaimHash, StreamId> {
    for (stream, claims) in &plan.released {
        for claim in claims {
            assert_eq!(
                owners.remove(claim).as_ref(),
                Some(stream),
                "released by a stream that does not own it"
            );
        }
    }
    owners.retain(|_, owner| !plan.erased.contains(owner));
    let keyed = plan.new_keys.iter().map(|(stream, _, claims)| (stream, claims));
    for (stream, claims) in keyed.chain(plan.taken.iter().map(|(stream, claims)| (stream, claims))) {
        for claim in claims {
            assert_eq!(
                owners.insert(*claim, stream.clone()),
                None,
                "{stream} takes a claim that is not free yet"
            );
        }
    }
    owners
}

/// The owners by name of claim, for a batch on [`log`].
fn owned(plan: &CommitPlan, names: &[&'static str]) -> Vec<(&'static str, String)> {
    let after = owners(log().owners.into_iter().collect(), plan);
    let owner = |name: &&'static str| Some((*name, after.get(&claim(name))?.to_string()));
    names.iter().filter_map(owner).collect()
}
