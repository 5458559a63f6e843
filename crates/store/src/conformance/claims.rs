//! Guarantee 3: unique claims. A claim belongs to one stream at a time and changes hands in the commit of its
//! event.

use futures::future::join_all;

use super::harness::{Harness, append_writes, email_claim, read_all, username_claim};
use crate::append::{AppendError, ExpectedVersion, StreamWrite};

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
