//! Promise 3: a claim belongs to one stream at a time, and moves in the same commit as the event that moves it.

use futures::future::join_all;

use super::world::{World, all, email, put, username};
use crate::append::{AppendError, Expected, StreamWrite};

/// The refusal names which claim is taken, the first in the order given.
pub async fn a_taken_claim_is_refused_by_name(world: &World) {
    let store = world.store().await;
    let first = StreamWrite {
        take: vec![email("ada@example.com"), username("ada")],
        ..world.write(&world.stream(), Expected::NoStream)
    };
    put(&store, [first]).await.unwrap();
    for (take, kind) in [
        (vec![email("ada@example.com"), username("bob")], "email"),
        (vec![email("bob@example.com"), username("ada")], "username"),
        (vec![email("ada@example.com"), username("ada")], "email"),
    ] {
        let refused =
            put(&store, [StreamWrite { take, ..world.write(&world.stream(), Expected::NoStream) }]).await;
        assert!(
            matches!(refused, Err(AppendError::ClaimTaken { kind: which }) if which == kind),
            "{refused:?}"
        );
    }
    assert_eq!(all(&store).await.len(), 1);
    // The same text as another kind is another claim.
    let other = StreamWrite {
        take: vec![username("ada@example.com")],
        ..world.write(&world.stream(), Expected::NoStream)
    };
    put(&store, [other]).await.unwrap();
}

/// Fifty sign-ups for one e-mail in two processes: one wins, and every loser is told why.
pub async fn of_racing_claimants_exactly_one_wins(world: &World) {
    let processes = [world.store().await, world.store().await];
    let racers =
        (0..50).map(|n| put(&processes[n % 2], [world.claiming(&world.stream(), "ada@example.com")]));
    let results = join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let refused =
        results.iter().filter(|r| matches!(r, Err(AppendError::ClaimTaken { kind: "email" }))).count();
    assert_eq!(refused, 49, "{results:?}");
    assert_eq!(all(&processes[0]).await.len(), 1);
}

/// Both give back and take in one append, in either order.
pub async fn two_users_may_swap_their_claims(world: &World) {
    let store = world.store().await;
    let (a, b) = (world.stream(), world.stream());
    put(&store, [world.claiming(&a, "a@example.com")]).await.unwrap();
    put(&store, [world.claiming(&b, "b@example.com")]).await.unwrap();
    let change = |stream, from: &str, to: &str, version| StreamWrite {
        release: vec![email(from)],
        take: vec![email(to)],
        ..world.write(stream, Expected::Exactly(version))
    };
    // One alone cannot have what the other still holds.
    let alone = put(&store, [change(&a, "a@example.com", "b@example.com", 1)]).await;
    assert!(matches!(alone, Err(AppendError::ClaimTaken { kind: "email" })), "{alone:?}");
    let swap =
        [change(&a, "a@example.com", "b@example.com", 1), change(&b, "b@example.com", "a@example.com", 1)];
    put(&store, swap).await.unwrap();
    // Now each holds the other's, and only that: swapping back works, swapping again does not.
    let back =
        [change(&b, "a@example.com", "b@example.com", 2), change(&a, "b@example.com", "a@example.com", 2)];
    put(&store, back).await.unwrap();
    for taken in ["a@example.com", "b@example.com"] {
        let refused = put(&store, [world.claiming(&world.stream(), taken)]).await;
        assert!(matches!(refused, Err(AppendError::ClaimTaken { .. })), "{refused:?}");
    }
}

/// Giving back frees a claim at once; giving back what is another's does not.
pub async fn a_released_claim_is_free_in_the_same_commit(world: &World) {
    let store = world.store().await;
    let (a, b, c) = (world.stream(), world.stream(), world.stream());
    put(&store, [world.claiming(&a, "a@example.com")]).await.unwrap();
    put(&store, [world.claiming(&b, "b@example.com")]).await.unwrap();
    let theft =
        StreamWrite { release: vec![email("a@example.com")], ..world.write(&b, Expected::Exactly(1)) };
    put(&store, [theft]).await.unwrap();
    let refused = put(&store, [world.claiming(&c, "a@example.com")]).await;
    assert!(matches!(refused, Err(AppendError::ClaimTaken { .. })), "{refused:?}");
    let handover = [
        StreamWrite { release: vec![email("a@example.com")], ..world.write(&a, Expected::Exactly(1)) },
        world.claiming(&c, "a@example.com"),
    ];
    put(&store, handover).await.unwrap();
    // A stream that has given back its last claim can take one again.
    let again = StreamWrite { take: vec![email("new@example.com")], ..world.write(&a, Expected::Exactly(2)) };
    put(&store, [again]).await.unwrap();
}

/// The claims of an append that was refused for another reason stay free.
pub async fn a_refused_append_takes_no_claim(world: &World) {
    let store = world.store().await;
    let stream = world.stream();
    put(&store, [world.write(&stream, Expected::NoStream)]).await.unwrap();
    let stale = put(&store, [world.claiming(&stream, "ada@example.com")]).await;
    assert!(matches!(stale, Err(AppendError::Conflict { .. })), "{stale:?}");
    put(&store, [world.claiming(&world.stream(), "ada@example.com")]).await.unwrap();
}
