//! Guarantee: claims that were introduced after their events go to the first stream that wants them, and nothing
//! else changes.

use std::slice::from_ref;

use super::harness::{Harness, append_writes, username_claim};
use crate::append::{AppendError, ExpectedVersion, StreamWrite};
use crate::claim_backfill::ClaimCollision;
use crate::event::{PersonalData, StoredEvent, StreamId};
use crate::event_store::EventStore;
use crate::key_store::ClaimReplacement;
use crate::key_store::KeyEntry;
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

const BY_NAME: (&str, ClaimReader) = ("by name", |event| Ok(by_name(event)));
const BY_LETTER: (&str, ClaimReader) = ("by letter", |event| Ok(by_letter(event)));

/// Backfills; returns the number of streams and the collisions.
async fn backfill(
    store: &EventStore,
    (rules, reader): (&str, ClaimReader),
) -> (usize, Vec<(StreamId, StreamId)>) {
    let mut collisions = Vec::new();
    let mut on_collision = |ClaimCollision { stream, owner }| collisions.push((stream, owner));
    let streams = store.backfill_claims(rules, &["Happened"], reader, &mut on_collision).await.unwrap();
    store.verify(reader, &mut |_, _| {}).await.unwrap();
    (streams, collisions)
}

/// Appends the first event of a stream as before the claims were introduced.
async fn register(harness: &Harness, store: &EventStore, name: &str) -> StreamId {
    let stream = harness.new_stream();
    let write =
        StreamWrite::new(stream.clone(), ExpectedVersion::NoStream, vec![harness.personal_event(name)]);
    append_writes(store, [write]).await.unwrap();
    stream
}

async fn owners(store: &EventStore, names: &[&str]) -> Vec<Option<StreamId>> {
    let claims: Vec<_> = names.iter().map(|name| username_claim(name)).collect();
    store.claim_owners(&claims).await.unwrap()
}

/// Each name goes to its first stream, and an erased stream gets none. What was done is not done again.
pub async fn older_streams_get_free_claims_and_collisions_are_reported(harness: &Harness) {
    let store = harness.open_store().await;
    assert_eq!(backfill(&store, BY_NAME).await, (0, Vec::new()));
    let ada = register(harness, &store, "ada").await;
    let bob = register(harness, &store, "bob").await;
    let twin = register(harness, &store, "ada").await;
    let erased = register(harness, &store, "eve").await;
    let erase = StreamWrite {
        erase: true,
        ..StreamWrite::new(erased, ExpectedVersion::Exactly(1), vec![harness.plain_event()])
    };
    append_writes(&store, [erase]).await.unwrap();

    assert_eq!(backfill(&store, BY_NAME).await, (5, vec![(twin.clone(), ada.clone())]));
    assert_eq!(owners(&store, &["ada", "bob", "eve"]).await, [Some(ada.clone()), Some(bob), None]);
    let taken = StreamWrite {
        take: vec![username_claim("bob")],
        ..harness.write(&harness.new_stream(), ExpectedVersion::NoStream)
    };
    let refused = append_writes(&store, [taken]).await;
    assert!(matches!(refused, Err(AppendError::ClaimTaken { kind: "username" })), "{refused:?}");
    assert_eq!(backfill(&store, BY_NAME).await, (0, Vec::new()));

    let dan = register(harness, &store, "dan").await;
    let other = harness.open_store().await;
    assert_eq!(backfill(&other, BY_NAME).await, (1, Vec::new()));
    assert_eq!(owners(&store, &["dan"]).await, [Some(dan)]);
}

/// Claims that are derived by other rules replace the old ones, also those taken in a commit.
pub async fn other_rules_replace_the_claims_of_the_old_ones(harness: &Harness) {
    let store = harness.open_store().await;
    let ada = register(harness, &store, "ada").await;
    let new = StreamWrite {
        take: vec![username_claim("bob")],
        ..StreamWrite::new(
            harness.new_stream(),
            ExpectedVersion::NoStream,
            vec![harness.personal_event("bob")],
        )
    };
    let bob = new.stream.clone();
    append_writes(&store, [new]).await.unwrap();
    backfill(&store, BY_NAME).await;
    assert_eq!(owners(&store, &["ada", "bob"]).await, [Some(ada.clone()), Some(bob.clone())]);
    assert_eq!(backfill(&store, BY_LETTER).await, (2, Vec::new()));
    assert_eq!(owners(&store, &["ada", "bob", "a", "b"]).await, [None, None, Some(ada), Some(bob)]);
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
    let erase = StreamWrite {
        erase: true,
        ..StreamWrite::new(erased.clone(), ExpectedVersion::Exactly(1), vec![harness.plain_event()])
    };
    append_writes(&store, [erase]).await.unwrap();
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
