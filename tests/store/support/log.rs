//! Invariants of every log.

use std::collections::HashMap;

use store::canonical::canonical_event;
use store::conformance::harness::read_all;
use store::merkle::{Frontier, leaf_hash};
use store::{EventStore, Position, StoredEvent};

/// Asserts that positions, and the versions of each stream, are 1, 2, 3 …, that timestamps never decrease,
/// and that the signed head commits to exactly these events. Returns the events.
pub(crate) async fn assert_log_consistent(store: &EventStore) -> Vec<StoredEvent> {
    // In this order: events appended in between are in `events`, not missing.
    let head = store.head().await.unwrap();
    let events = read_all(store).await;
    let mut versions: HashMap<_, u64> = HashMap::new();
    let (mut frontier, mut at) = (Frontier::default(), None);
    for (position, event) in (1..).zip(&events) {
        let event = &event.envelope;
        assert_eq!(event.position, Position::new(position), "the positions of the log");
        let version = versions.entry(event.stream.clone()).or_default();
        *version += 1;
        assert_eq!(event.version, *version, "the versions of {}", event.stream);
        assert!(at <= Some(event.at), "the timestamp decreases at position {position}");
        at = Some(event.at);
        assert_eq!(
            event.leaf,
            leaf_hash(&canonical_event(event).unwrap()),
            "the leaf of position {position}"
        );
        frontier.push(event.leaf);
        if event.position == head.position {
            assert_eq!((head.root, &head.frontier), (frontier.root(), &frontier), "the tree at {position}");
            assert_eq!(head.note, store.signer().sign(position, &head.root), "the signature at {position}");
        }
    }
    assert!(events.len() >= usize::try_from(head.position.get()).unwrap(), "the head is beyond the events");
    events
}
