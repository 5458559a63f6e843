//! Guarantee 3: unique claims. A claim belongs to one stream at a time and changes hands in the commit of its
//! event.

use futures::future::{join, join_all};

use super::harness::{Harness, append_writes, build_append, email_claim, read_all, username_claim};
use crate::append::{Append, AppendError, Claim, ExpectedVersion, Guard, StreamWrite};
use crate::event::StreamId;

/// The rejection names the kind of the first taken claim, in the order given.
pub async fn taken_claim_is_rejected_by_kind(harness: &Harness) {
    let store = harness.open_store().await;
    let first = StreamWrite {
        take: vec![email_claim("ada@example.com"), username_claim("ada")],
        ..harness.write(&harness.new_stream(), ExpectedVersion::NoStream)
    };
    append_writes(&store, [first]).await.unwrap();
    for (take, kind) in [
        (vec![email_claim("ada@example.com"), username_claim("bob")], "email"),
        (vec![email_claim("bob@example.com"), username_claim("ada")], "username"),
        (vec![email_claim("ada@example.com"), username_claim("ada")], "email"),
    ] {
        let refused = append_writes(
            &store,
            [StreamWrite { take, ..harness.write(&harness.new_stream(), ExpectedVersion::NoStream) }],
        )
        .await;
        assert!(
            matches!(refused, Err(AppendError::ClaimTaken { kind: which }) if which == kind),
            "{refused:?}"
        );
    }
    assert_eq!(read_all(&store).await.len(), 1);
    // The same value with another kind is another claim.
    let other = StreamWrite {
        take: vec![username_claim("ada@example.com")],
        ..harness.write(&harness.new_stream(), ExpectedVersion::NoStream)
    };
    append_writes(&store, [other]).await.unwrap();
}

/// Fifty sign-ups for one e-mail in two processes: one wins, the others get `ClaimTaken`.
pub async fn concurrent_claims_one_wins(harness: &Harness) {
    let processes = [harness.open_store().await, harness.open_store().await];
    let racers = (0..50).map(|n| {
        append_writes(
            &processes[n % 2],
            [harness.write_claiming_email(&harness.new_stream(), "ada@example.com")],
        )
    });
    let results = join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let refused =
        results.iter().filter(|r| matches!(r, Err(AppendError::ClaimTaken { kind: "email" }))).count();
    assert_eq!(refused, 49, "{results:?}");
    assert_eq!(read_all(&processes[0]).await.len(), 1);
}

/// Two streams exchange their claims in one append, in either order.
pub async fn claims_can_be_swapped_in_one_append(harness: &Harness) {
    let store = harness.open_store().await;
    let (a, b) = (harness.new_stream(), harness.new_stream());
    append_writes(&store, [harness.write_claiming_email(&a, "a@example.com")]).await.unwrap();
    append_writes(&store, [harness.write_claiming_email(&b, "b@example.com")]).await.unwrap();
    let change = |stream, from: &str, to: &str, version| StreamWrite {
        release: vec![email_claim(from)],
        take: vec![email_claim(to)],
        ..harness.write(stream, ExpectedVersion::Exactly(version))
    };
    // One stream alone cannot take a claim that the other still holds.
    let alone = append_writes(&store, [change(&a, "a@example.com", "b@example.com", 1)]).await;
    assert!(matches!(alone, Err(AppendError::ClaimTaken { kind: "email" })), "{alone:?}");
    let swap =
        [change(&a, "a@example.com", "b@example.com", 1), change(&b, "b@example.com", "a@example.com", 1)];
    append_writes(&store, swap).await.unwrap();
    // Each stream now holds only the other's claim: they can be swapped back.
    let back =
        [change(&b, "a@example.com", "b@example.com", 2), change(&a, "b@example.com", "a@example.com", 2)];
    append_writes(&store, back).await.unwrap();
    for taken in ["a@example.com", "b@example.com"] {
        let refused =
            append_writes(&store, [harness.write_claiming_email(&harness.new_stream(), taken)]).await;
        assert!(matches!(refused, Err(AppendError::ClaimTaken { .. })), "{refused:?}");
    }
}

/// Releasing frees a claim in the same commit; releasing a claim of another stream has no effect.
pub async fn released_claim_is_free_in_the_same_commit(harness: &Harness) {
    let store = harness.open_store().await;
    let (a, b, c) = (harness.new_stream(), harness.new_stream(), harness.new_stream());
    append_writes(&store, [harness.write_claiming_email(&a, "a@example.com")]).await.unwrap();
    append_writes(&store, [harness.write_claiming_email(&b, "b@example.com")]).await.unwrap();
    let theft = StreamWrite {
        release: vec![email_claim("a@example.com")],
        ..harness.write(&b, ExpectedVersion::Exactly(1))
    };
    append_writes(&store, [theft]).await.unwrap();
    let refused = append_writes(&store, [harness.write_claiming_email(&c, "a@example.com")]).await;
    assert!(matches!(refused, Err(AppendError::ClaimTaken { .. })), "{refused:?}");
    let handover = [
        StreamWrite {
            release: vec![email_claim("a@example.com")],
            ..harness.write(&a, ExpectedVersion::Exactly(1))
        },
        harness.write_claiming_email(&c, "a@example.com"),
    ];
    append_writes(&store, handover).await.unwrap();
    // A stream that has released its last claim can take one again.
    let again = StreamWrite {
        take: vec![email_claim("new@example.com")],
        ..harness.write(&a, ExpectedVersion::Exactly(2))
    };
    append_writes(&store, [again]).await.unwrap();
}

/// An append that is rejected for another reason takes no claim.
pub async fn rejected_append_takes_no_claim(harness: &Harness) {
    let store = harness.open_store().await;
    let stream = harness.new_stream();
    append_writes(&store, [harness.write(&stream, ExpectedVersion::NoStream)]).await.unwrap();
    let stale = append_writes(&store, [harness.write_claiming_email(&stream, "ada@example.com")]).await;
    assert!(matches!(stale, Err(AppendError::Conflict { .. })), "{stale:?}");
    append_writes(&store, [harness.write_claiming_email(&harness.new_stream(), "ada@example.com")])
        .await
        .unwrap();
}

/// The owner of each claim is found, in another process as well, and only while the claim is held.
pub async fn claim_owners_are_found(harness: &Harness) {
    let (store, other) = (harness.open_store().await, harness.open_store().await);
    let (a, b) = (harness.new_stream(), harness.new_stream());
    let both = StreamWrite {
        take: vec![email_claim("a@example.com"), username_claim("a")],
        ..harness.write(&a, ExpectedVersion::NoStream)
    };
    append_writes(&store, [both, harness.write_claiming_email(&b, "b@example.com")]).await.unwrap();
    let asked = ["b@example.com", "free@example.com", "a@example.com"].map(email_claim);
    // A process that has read the head sees at least what the head includes.
    other.head().await.unwrap();
    assert_eq!(other.claim_owners(&asked).await.unwrap(), [Some(b.clone()), None, Some(a.clone())]);
    assert_eq!(store.claim_owners(&[]).await.unwrap(), []);
    let erasure = StreamWrite::new(a, ExpectedVersion::Exactly(1), vec![harness.plain_event()]);
    append_writes(&store, [StreamWrite { erase: true, ..erasure }]).await.unwrap();
    assert_eq!(store.claim_owners(&asked).await.unwrap(), [Some(b), None, None]);
}

/// Of concurrent appends that take a claim if it is free, one gets it, and all succeed; later ones do not take it from
/// its owner, which keeps it. A free claim that is wanted with a required one is lost with it.
pub async fn optional_claims_go_to_one_stream(harness: &Harness) {
    let processes = [harness.open_store().await, harness.open_store().await];
    let optional = |stream: &StreamId| StreamWrite {
        take_if_free: vec![username_claim("ada")],
        ..harness.write(stream, ExpectedVersion::NoStream)
    };
    let streams: Vec<_> = (0..10).map(|_| harness.new_stream()).collect();
    let racers =
        streams.iter().enumerate().map(|(n, stream)| append_writes(&processes[n % 2], [optional(stream)]));
    for result in join_all(racers).await {
        result.unwrap();
    }
    processes[1].head().await.unwrap();
    let owner = processes[1].claim_owners(&[username_claim("ada")]).await.unwrap().remove(0).unwrap();
    assert!(streams.contains(&owner));
    // A required claim is refused, an optional one is not, and the owner stays.
    let required = StreamWrite {
        take: vec![username_claim("ada")],
        ..harness.write(&harness.new_stream(), ExpectedVersion::NoStream)
    };
    let refused = append_writes(&processes[0], [required]).await;
    assert!(matches!(refused, Err(AppendError::ClaimTaken { kind: "username" })), "{refused:?}");
    // Of two writes of one append, the first gets a free claim.
    let (first, second) = (harness.new_stream(), harness.new_stream());
    let both = [&first, &second].map(|stream| StreamWrite {
        take_if_free: vec![username_claim("ada"), username_claim("bob")],
        ..harness.write(stream, ExpectedVersion::NoStream)
    });
    append_writes(&processes[0], both).await.unwrap();
    // A rejected append takes none.
    let rejected = StreamWrite {
        take: vec![username_claim("bob")],
        take_if_free: vec![username_claim("cid")],
        ..harness.write(&harness.new_stream(), ExpectedVersion::NoStream)
    };
    append_writes(&processes[0], [rejected]).await.unwrap_err();
    let asked = ["ada", "bob", "cid"].map(username_claim);
    let owners = processes[0].claim_owners(&asked).await.unwrap();
    assert_eq!(owners, [Some(owner.clone()), Some(first), None]);
    // It is released with the stream, as every claim.
    let erasure = StreamWrite::new(owner, ExpectedVersion::Exactly(1), vec![harness.plain_event()]);
    append_writes(&processes[0], [StreamWrite { erase: true, ..erasure }]).await.unwrap();
    let heir = harness.new_stream();
    append_writes(&processes[0], [optional(&heir)]).await.unwrap();
    assert_eq!(processes[0].claim_owners(&asked[..1]).await.unwrap(), [Some(heir)]);
}

/// A guard holds at the commit: of an erasure that requires its claims to be free afterwards, and appends that
/// take one and require the stream not to be erased, either order leaves nothing behind.
pub async fn guards_hold_at_the_commit(harness: &Harness) {
    let processes = [harness.open_store().await, harness.open_store().await];
    let slots: Vec<_> = (0..4).map(|slot| Claim { kind: "slot", value: format!("ada/{slot}") }).collect();
    let owner = harness.new_stream();
    append_writes(&processes[0], [harness.write(&owner, ExpectedVersion::NoStream)]).await.unwrap();
    let racers = (0..12).map(|number| {
        let take = vec![slots[number % slots.len()].clone()];
        let write = StreamWrite { take, ..harness.write(&harness.new_stream(), ExpectedVersion::NoStream) };
        let guards = vec![Guard::NotErased(owner.clone())];
        let store = &processes[number % 2];
        async move { store.append(&Append { guards, ..build_append([write]) }).await }
    });
    let guards: Vec<_> = slots.iter().cloned().map(Guard::Unclaimed).collect();
    let erase = async {
        loop {
            let erasing = |stream: &StreamId| StreamWrite {
                erase: true,
                ..StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![harness.plain_event()])
            };
            let held = processes[1].claim_owners(&slots).await.unwrap();
            let writes = [owner.clone()].iter().chain(held.iter().flatten()).map(erasing).collect::<Vec<_>>();
            match processes[1].append(&Append { guards: guards.clone(), ..build_append(writes) }).await {
                Err(AppendError::ClaimTaken { kind: "slot" }) => {}
                erased => return drop(erased.unwrap()),
            }
        }
    };
    let (results, ()) = join(join_all(racers), erase).await;
    for result in results {
        match result {
            Err(AppendError::ClaimTaken { kind: "slot" }) => {}
            Err(AppendError::Erased { stream }) => assert_eq!(stream, owner),
            taken => drop(taken.unwrap()),
        }
    }
    processes[0].head().await.unwrap();
    assert_eq!(processes[0].claim_owners(&slots).await.unwrap(), [None, None, None, None]);
}
