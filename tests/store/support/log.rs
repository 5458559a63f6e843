//! What every log must be.

use std::collections::HashMap;

use store::canonical::canonical_event;
use store::conformance::harness::read_all;
use store::merkle::{Frontier, leaf_hash};
use store::{EventStore, Position, StoredEvent};

/// Positions are 1, 2, 3 … and versions of each stream too, times never fall, and the signed head is that of exactly
/// these events. Gives them.
pub(crate) async fn assert_log_consistent(store: &EventStore) -> Vec<StoredEvent> {
    // In this order: what is appended meanwhile is in the events, never missing.
    let head = store.head().await.unwrap();
    let events = read_all(store).await;
    let mut versions: HashMap<_, u64> = HashMap::new();
    let (mut frontier, mut at) = (Frontier::default(), None);
    for (place, event) in (1..).zip(&events) {
        let event = &event.envelope;
        assert_eq!(event.position, Position::new(place), "the positions of the log");
        let version = versions.entry(event.stream.clone()).or_default();
        *version += 1;
        assert_eq!(event.version, *version, "the versions of {}", event.stream);
        assert!(at <= Some(event.at), "time falls at position {place}");
        at = Some(event.at);
        assert_eq!(event.leaf, leaf_hash(&canonical_event(event).unwrap()), "the leaf of position {place}");
        frontier.push(event.leaf);
        if event.position == head.position {
            assert_eq!((head.root, &head.frontier), (frontier.root(), &frontier), "the tree at {place}");
            assert_eq!(head.note, store.signer().sign(place, &head.root), "the signature at {place}");
        }
    }
    assert!(events.len() >= usize::try_from(head.position.get()).unwrap(), "the head is beyond the events");
    events
}
