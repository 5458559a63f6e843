//! Tiles of the Merkle tree: proofs lead to the signed root, whichever process builds the tiles.

use futures::future::join_all;

use super::harness::{Harness, append_writes, read_all};
use crate::append::{ExpectedVersion, StreamWrite};
use crate::checkpoint::SignedHead;
use crate::error::{Corruption, StoreError};
use crate::event::Position;
use crate::event_store::EventStore;
use crate::merkle::{Frontier, Hash, verify_consistency, verify_inclusion};
use crate::tiles::{ProofError, Proofs, TileId, WIDTH};

/// Appends `events` events in one append.
async fn grow(harness: &Harness, store: &EventStore, events: u64) {
    let events = (0..events).map(|_| harness.plain_event()).collect();
    append_writes(store, [StreamWrite::new(harness.new_stream(), ExpectedVersion::NoStream, events)])
        .await
        .unwrap();
}

async fn proofs(harness: &Harness) -> (EventStore, Proofs) {
    let handle = harness.open_migrated().await;
    let store = harness.store_on(&handle).await;
    (store.clone(), Proofs::new(store, handle.tiles))
}

/// The root of the log after each number of events.
async fn roots(store: &EventStore) -> Vec<Hash> {
    let mut frontier = Frontier::default();
    let mut roots = vec![frontier.root()];
    for event in read_all(store).await {
        frontier.push(event.envelope.leaf);
        roots.push(frontier.root());
    }
    roots
}

/// Inclusion proofs for logs of no event, one event, one tile and more; consistency proofs between their
/// states.
pub async fn every_event_of_a_growing_log_has_an_inclusion_proof(harness: &Harness) {
    let (store, proofs) = proofs(harness).await;
    let none = proofs.inclusion(Position::new(1)).await;
    assert!(matches!(none, Err(ProofError::BeyondHead { .. })), "{none:?}");
    for more in [1, 254, 1, 1, 300, 211, 17] {
        grow(harness, &store, more).await;
        let head = store.head().await.unwrap();
        let size = head.position.get();
        for position in [1, 2, size / 3, size / 2, size - 1, size]
            .into_iter()
            .filter(|position| (1..=size).contains(position))
        {
            let found = proofs.inclusion(Position::new(position)).await.unwrap();
            let event = &read_all(&store).await[usize::try_from(position - 1).unwrap()];
            assert_eq!((&found.head, found.leaf), (&head, event.envelope.leaf), "{position} of {size}");
            assert!(verify_inclusion(position - 1, size, &found.leaf, &found.proof, &head.root));
        }
        let beyond = proofs.inclusion(head.position.next()).await;
        assert!(matches!(beyond, Err(ProofError::BeyondHead { .. })), "{beyond:?}");
    }
    let (roots, size) = (roots(&store).await, store.head().await.unwrap().position.get());
    for (from, to) in [(0, 5), (1, size), (255, 256), (256, 700), (257, size), (511, 513), (size, size)] {
        let [old, new] = [from, to].map(|at| (at, &roots[usize::try_from(at).unwrap()]));
        let found = proofs.consistency(Position::new(from), Position::new(to)).await.unwrap();
        assert_eq!((found.from, found.to), (*old.1, *new.1), "{from} to {to}");
        assert!(verify_consistency(old, new, &found.proof), "{from} to {to}");
    }
    let head = store.head().await.unwrap();
    let signed = SignedHead { size, root: head.root };
    for (before, to) in [(0, 1), (0, size), (255, 256), (256, 700), (700, size), (size - 1, size)] {
        let found = proofs.range(Position::new(before), Position::new(to), &signed).await.unwrap();
        let root = |at: u64| roots[usize::try_from(at).unwrap()];
        assert_eq!((found.before.size(), found.before.root(), found.root), (before, root(before), root(to)));
        assert!(verify_consistency((to, &found.root), (size, &head.root), &found.consistency));
    }
    let another = SignedHead { size, root: [7; 32] };
    let refused = proofs.range(Position::START, Position::new(size), &another).await.unwrap_err();
    assert!(is_tiles_mismatch(&refused), "{refused}");
    for (from, to) in [(2, 1), (1, size + 1)] {
        let none = proofs.consistency(Position::new(from), Position::new(to)).await;
        assert!(matches!(none, Err(ProofError::BeyondHead { .. })), "{from} to {to}: {none:?}");
    }
}

/// Several processes build the same tiles concurrently with appends; earlier states of a tile do not change.
pub async fn concurrent_processes_build_identical_tiles(harness: &Harness) {
    let (store, first) = proofs(harness).await;
    grow(harness, &store, 3 * WIDTH).await;
    let size = Position::new(3 * WIDTH);
    let begun = first.tile(TileId { level: 1, index: 0 }, size).await.unwrap();
    assert_eq!(begun.len(), 3);
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(proofs(harness).await.1);
    }
    let appending = async {
        for _ in 0..8 {
            grow(harness, &store, 150).await;
        }
    };
    let growing = join_all(others.iter().map(async |proofs| {
        for _ in 0..20 {
            proofs.extend_tiles().await.unwrap();
        }
    }));
    tokio::join!(appending, growing);
    let roots = roots(&store).await;
    let end = store.head().await.unwrap().position;
    for (at, proofs) in (0..).zip(&others) {
        let from = Position::new(100 + at * 57);
        let found = proofs.consistency(from, end).await.unwrap();
        assert_eq!(found.from, roots[usize::try_from(from.get()).unwrap()]);
        assert_eq!(proofs.tile(TileId { level: 1, index: 0 }, size).await.unwrap(), begun);
    }
    assert_eq!(others[0].tile(TileId { level: 1, index: 0 }, end).await.unwrap().len(), 7);
    let last = others[0].tile(TileId { level: 0, index: end.get() / WIDTH }, end).await.unwrap();
    assert_eq!(u64::try_from(last.len()).unwrap(), end.get() % WIDTH);
}

/// A proof that does not lead to the signed root is rejected.
pub async fn tampered_tile_is_rejected(harness: &Harness) {
    let handle = harness.open_migrated().await;
    let store = harness.store_on(&handle).await;
    let proofs = Proofs::new(store.clone(), handle.tiles.clone());
    grow(harness, &store, WIDTH + 1).await;
    // Stores tiles whose leaves are not those of the log.
    let wrong =
        [(TileId { level: 0, index: 0 }, vec![[7; 32]; 256]), (TileId { level: 1, index: 0 }, vec![[7; 32]])];
    handle.tiles.add_tiles(0, &wrong.into()).await.unwrap();
    for position in [1, WIDTH, WIDTH + 1] {
        let refused = proofs.inclusion(Position::new(position)).await.unwrap_err();
        assert!(is_tiles_mismatch(&refused), "{refused}");
    }
    let head = store.head().await.unwrap();
    let signed = SignedHead { size: WIDTH + 1, root: head.root };
    let refused = proofs.range(Position::START, Position::new(WIDTH), &signed).await.unwrap_err();
    assert!(is_tiles_mismatch(&refused), "{refused}");
}

fn is_tiles_mismatch(error: &ProofError) -> bool {
    matches!(error, ProofError::Store(StoreError::Corrupt(Corruption::TilesMismatch { .. })))
}
