//! Guarantee: claims that were introduced after their events go to the first stream that wants them, and nothing
//! else changes.

use std::slice::from_ref;

use super::harness::{Harness, append_writes, email_claim, username_claim};
use crate::append::{AppendError, Claim, ExpectedVersion, StreamWrite};
use crate::claim_backfill::ClaimCollision;
use crate::error::WriteError;
use crate::event::{PersonalData, Position, StoredEvent, StreamId};
use crate::event_store::EventStore;
use crate::key_store::{ClaimBackfill, ClaimReplacement, KeyEntry};
use crate::verify::{ClaimChange, ClaimReader};

/// The personal name in an event of these tests.
fn name(event: &StoredEvent) -> Option<&str> {
    match &event.personal {
        PersonalData::Known(fields) => fields.get("email")?.as_str(),
        PersonalData::Erased => None,
    }
}

/// The whole name.
fn by_name(event: &StoredEvent) -> ClaimChange {
    let take_if_free = name(event).map(username_claim).into_iter().collect();
    ClaimChange { take_if_free, erases: name(event).is_none(), ..ClaimChange::default() }
}

/// The first letter.
fn by_letter(event: &StoredEvent) -> ClaimChange {
    let letter = name(event).and_then(|name| name.get(..1));
    ClaimChange { take_if_free: letter.map(username_claim).into_iter().collect(), ..by_name(event) }
}

const BY_NAME: (u64, ClaimReader) = (1, |event| Ok(by_name(event)));
const BY_LETTER: (u64, ClaimReader) = (2, |event| Ok(by_letter(event)));

/// Backfills; returns the number of events and the collisions.
async fn backfill(
    store: &EventStore,
    (rules, reader): (u64, ClaimReader),
) -> (usize, Vec<(StreamId, StreamId)>) {
    let done = store.backfill_claims(rules, &["Happened"], reader).await.unwrap();
    assert_eq!(done.unreadable, []);
    let collisions = done.collisions.into_iter().map(|ClaimCollision { stream, owner }| (stream, owner));
    (done.events, collisions.collect())
}

async fn verify(store: &EventStore, (_, reader): (u64, ClaimReader)) {
    store.verify(reader, &mut |_, _| {}).await.unwrap();
}

/// Appends the first event of a stream as before the claims were introduced.
async fn register(harness: &Harness, store: &EventStore, name: &str) -> StreamId {
    register_taking(harness, store, name, Vec::new()).await
}

/// Appends the first event of a stream, which takes these claims.
async fn register_taking(harness: &Harness, store: &EventStore, name: &str, take: Vec<Claim>) -> StreamId {
    let stream = harness.new_stream();
    let events = vec![harness.personal_event(name)];
    let write = StreamWrite::new(stream.clone(), ExpectedVersion::NoStream, events);
    append_writes(store, [StreamWrite { take, ..write }]).await.unwrap();
    stream
}

async fn owners(store: &EventStore, names: &[&str]) -> Vec<Option<StreamId>> {
    let claims: Vec<_> = names.iter().map(|name| username_claim(name)).collect();
    store.claim_owners(&claims).await.unwrap()
}

fn erase(harness: &Harness, stream: StreamId) -> StreamWrite {
    let write = StreamWrite::new(stream, ExpectedVersion::Exactly(1), vec![harness.plain_event()]);
    StreamWrite { erase: true, ..write }
}

/// Each name goes to its first stream, and an erased stream gets none. What was done is not done again, but streams
/// that lack a claim are tried again.
pub async fn older_streams_get_free_claims_and_collisions_are_reported(harness: &Harness) {
    let store = harness.open_store().await;
    assert_eq!(backfill(&store, BY_NAME).await, (0, Vec::new()));
    let ada = register(harness, &store, "ada").await;
    let bob = register(harness, &store, "bob").await;
    let twin = register(harness, &store, "ada").await;
    let erased = register(harness, &store, "eve").await;
    append_writes(&store, [erase(harness, erased)]).await.unwrap();
    verify(&store, BY_NAME).await;

    let collision = vec![(twin.clone(), ada.clone())];
    assert_eq!(backfill(&store, BY_NAME).await, (5, collision.clone()));
    verify(&store, BY_NAME).await;
    assert_eq!(owners(&store, &["ada", "bob", "eve"]).await, [Some(ada.clone()), Some(bob), None]);
    let taken = StreamWrite {
        take: vec![username_claim("bob")],
        ..harness.write(&harness.new_stream(), ExpectedVersion::NoStream)
    };
    let refused = append_writes(&store, [taken]).await;
    assert!(matches!(refused, Err(AppendError::ClaimTaken { kind: "username" })), "{refused:?}");
    assert_eq!(backfill(&store, BY_NAME).await, (0, collision));

    let dan = register(harness, &store, "dan").await;
    append_writes(&store, [erase(harness, ada)]).await.unwrap();
    let other = harness.open_store().await;
    assert_eq!(backfill(&other, BY_NAME).await, (2, Vec::new()));
    assert_eq!(owners(&store, &["dan", "ada"]).await, [Some(dan), Some(twin)]);
    verify(&store, BY_NAME).await;
}

/// Claims that are derived by higher rules replace the old ones, also those taken in a commit; lower rules change
/// nothing, and what they would derive is no finding.
pub async fn higher_rules_replace_the_claims_of_lower_ones(harness: &Harness) {
    let store = harness.open_store().await;
    let ada = register(harness, &store, "ada").await;
    let bob = register_taking(harness, &store, "bob", vec![username_claim("bob")]).await;
    backfill(&store, BY_NAME).await;
    assert_eq!(owners(&store, &["ada", "bob"]).await, [Some(ada.clone()), Some(bob.clone())]);
    verify(&store, BY_LETTER).await;
    assert_eq!(backfill(&store, BY_LETTER).await, (2, Vec::new()));
    let by_letter = [None, None, Some(ada), Some(bob)];
    assert_eq!(owners(&store, &["ada", "bob", "a", "b"]).await, by_letter);
    assert_eq!(backfill(&store, BY_NAME).await, (0, Vec::new()));
    assert_eq!(owners(&store, &["ada", "bob", "a", "b"]).await, by_letter);
    for rules in [BY_NAME, BY_LETTER] {
        verify(&store, rules).await;
    }
}

/// A claim that this release does not know may be of a later one. It stands for the one that is missing.
pub async fn unknown_claims_stay_under_the_same_rules(harness: &Harness) {
    let store = harness.open_store().await;
    backfill(&store, BY_NAME).await;
    let bob = register_taking(harness, &store, "bob", vec![email_claim("of a later release")]).await;
    backfill(&store, BY_NAME).await;
    let claims = [email_claim("of a later release"), username_claim("bob")];
    assert_eq!(store.claim_owners(&claims).await.unwrap(), [Some(bob), None]);
    verify(&store, BY_NAME).await;
}

/// Claims that have changed since they were read, those of another stream, and tombstones stay.
pub async fn concurrent_changes_of_claims_win(harness: &Harness) {
    let handle = harness.open_migrated().await;
    let store = harness.store_on(&handle).await;
    let [ada, bob, erased] = [
        register(harness, &store, "ada").await,
        register(harness, &store, "bob").await,
        harness.new_stream(),
    ];
    append_writes(&store, [harness.write(&erased, ExpectedVersion::NoStream)]).await.unwrap();
    append_writes(&store, [erase(harness, erased.clone())]).await.unwrap();
    let [x, y] = ["x", "y"].map(|value| store.claim_key().hash("username", value));
    let replace = async |stream: &StreamId, from: &[_], to: &[_]| {
        let replacement = ClaimReplacement { stream: stream.clone(), from: from.to_vec(), to: to.to_vec() };
        handle.log.replace_claims(&[replacement]).await.unwrap();
        let stored = handle.log.key_entries_with_claims(from_ref(stream)).await.unwrap();
        let [(_, entry, claims)] = stored.try_into().unwrap();
        assert_eq!(matches!(entry, KeyEntry::Erased), *stream == erased);
        claims
    };
    assert_eq!(replace(&ada, &[], &[x]).await, [x]);
    assert_eq!(replace(&ada, &[], &[y]).await, [x], "its claims have changed");
    assert_eq!(replace(&bob, &[], &[y, x]).await, [], "another stream holds one of them");
    assert_eq!(replace(&erased, &[], &[y]).await, [], "it is erased");
    assert_eq!(replace(&ada, &[x], &[x, y]).await.len(), 2);
    assert_eq!(replace(&ada, &[x, y], &[]).await, []);
    assert_eq!(replace(&bob, &[], &[x]).await, [x]);
}

/// The marker is compared and set.
pub async fn one_of_concurrent_backfills_records_a_page(harness: &Harness) {
    let handle = harness.open_migrated().await;
    let at = |position| ClaimBackfill {
        rules: 3,
        position: Position::new(position),
        replace_until: Position::new(9),
        collisions: vec![StreamId::new("user-7").unwrap()],
    };
    assert_eq!(handle.log.claim_backfill().await.unwrap(), None);
    handle.log.set_claim_backfill(None, &at(1)).await.unwrap();
    for (from, to) in [(None, at(2)), (Some(at(2)), at(3))] {
        let refused = handle.log.set_claim_backfill(from.as_ref(), &to).await;
        assert!(matches!(refused, Err(WriteError::Conflict)), "{refused:?}");
    }
    handle.log.set_claim_backfill(Some(&at(1)), &at(2)).await.unwrap();
    assert_eq!(handle.log.claim_backfill().await.unwrap(), Some(at(2)));
}
