//! Promise 8: erasing a stream destroys its key and its claims in one commit; the log stays whole.

use super::world::{World, all, object, put};
use crate::append::{AppendError, Expected, StreamWrite};
use crate::canonical::canonical_event;
use crate::event::{PersonalData, StreamId};
use crate::event_store::EventStore;
use crate::merkle::{Frontier, leaf_hash};

async fn with_two_people(world: &World) -> (EventStore, StreamId, StreamId) {
    let store = world.store().await;
    let (ada, bob) = (world.stream(), world.stream());
    put(&store, [world.claiming(&ada, "ada@example.com")]).await.unwrap();
    put(&store, [world.claiming(&bob, "bob@example.com")]).await.unwrap();
    (store, ada, bob)
}

fn erasing(world: &World, stream: &StreamId) -> StreamWrite {
    StreamWrite { erase: true, ..StreamWrite::new(stream.clone(), Expected::Any, vec![world.plain_event()]) }
}

/// The events stay, unreadable for whoever asks, also in other processes; other people's stay readable; leaves and
/// root are as before.
pub async fn an_erased_stream_keeps_its_events_and_loses_its_secrets(world: &World) {
    let (store, ada, bob) = with_two_people(world).await;
    let other = world.store().await;
    let before = all(&other).await;
    put(&store, [erasing(world, &ada)]).await.unwrap();
    let now = all(&other).await;
    assert_eq!(now.len(), 3);
    assert_eq!(now[0].personal, PersonalData::Erased);
    assert_eq!(now[1].personal, PersonalData::Known(object("email", "ada@example.com")));
    assert_eq!(now[1].envelope.stream, bob);
    let mut frontier = Frontier::default();
    for (index, event) in now.iter().enumerate() {
        assert_eq!(event.envelope.leaf, leaf_hash(&canonical_event(&event.envelope).unwrap()));
        assert!(before.get(index).is_none_or(|earlier| earlier.envelope == event.envelope));
        frontier.push(event.envelope.leaf);
    }
    assert_eq!(store.head().await.unwrap().root, frontier.root());
}

/// Whatever is tried afterwards, with whichever expectation, is refused as erased.
pub async fn an_erased_stream_takes_no_more_events(world: &World) {
    let (store, ada, _) = with_two_people(world).await;
    put(&store, [erasing(world, &ada)]).await.unwrap();
    let plain = |expected| StreamWrite::new(ada.clone(), expected, vec![world.plain_event()]);
    for write in [
        plain(Expected::Any),
        plain(Expected::Exactly(2)),
        plain(Expected::NoStream),
        world.write(&ada, Expected::Exactly(2)),
        world.write(&ada, Expected::NoStream),
        erasing(world, &ada),
    ] {
        for process in [&store, &world.store().await] {
            let refused = put(process, [write.clone()]).await;
            assert!(matches!(&refused, Err(AppendError::Erased { stream }) if *stream == ada), "{refused:?}");
        }
    }
    assert_eq!(all(&store).await.len(), 3);
    let never = put(&store, [erasing(world, &world.stream())]).await;
    assert!(
        matches!(never, Err(AppendError::Invalid(_))),
        "a stream without secrets cannot be erased: {never:?}"
    );
}

/// The claims are free for the next one, even in the same append.
pub async fn an_erased_streams_claims_are_free_at_once(world: &World) {
    let (store, ada, bob) = with_two_people(world).await;
    let heir = world.stream();
    put(&store, [erasing(world, &ada), world.claiming(&heir, "ada@example.com")]).await.unwrap();
    let refused = put(&store, [world.claiming(&world.stream(), "ada@example.com")]).await;
    assert!(matches!(refused, Err(AppendError::ClaimTaken { .. })), "{refused:?}");
    put(&store, [erasing(world, &bob)]).await.unwrap();
    put(&store, [world.claiming(&world.stream(), "bob@example.com")]).await.unwrap();
}
