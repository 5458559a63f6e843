//! The log proves itself: verification passes on whatever was appended, also while more is, and sees each claim that is
//! missing or too much.

use std::sync::Arc;

use super::world::{World, all, append, email, put};
use crate::append::{Claim, Expected, StreamWrite};
use crate::event::{Position, Recorded, StreamId};
use crate::event_store::EventStore;
use crate::verify::{ClaimChange, Verified, VerifyError};

/// What the events that these tests append say in their data: the claims `taken` and `given`, and whether it `erases`.
fn changes(event: &Recorded) -> ClaimChange {
    let claims = |field: &str| match event.envelope.data.get(field).and_then(|value| value.as_str()) {
        Some(value) => vec![email(value)],
        None => Vec::new(),
    };
    let erases = event.envelope.data.get("erases").is_some_and(|erases| erases == true);
    ClaimChange { take: claims("taken"), release: claims("given"), erases }
}

async fn verify(store: &EventStore) -> Result<Verified, VerifyError> {
    store.verify(|event| Ok(changes(event)), &mut |_, _| {}).await
}

/// A write whose event says which claims it takes and gives back.
fn telling(world: &World, mut write: StreamWrite, taken: Option<&str>, given: Option<&str>) -> StreamWrite {
    let mut event = world.event("somebody@example.com");
    for (field, value) in [("taken", taken), ("given", given)] {
        event.data.extend(value.map(|value| (field.to_owned(), value.into())));
    }
    write.events = vec![event];
    let claims = |value: Option<&str>| -> Vec<Claim> { value.map(email).into_iter().collect() };
    write.take = claims(taken);
    write.release = claims(given);
    write
}

/// A write that erases its stream, and whether its event says so.
fn erasing(world: &World, stream: &StreamId, expected: Expected, said: bool) -> StreamWrite {
    let mut event = world.plain_event();
    event.data.insert("erases".to_owned(), said.into());
    StreamWrite { erase: true, ..StreamWrite::new(stream.clone(), expected, vec![event]) }
}

/// Of an empty log, of one with claims that were taken, moved and erased, and beside somebody who appends.
pub async fn an_honest_log_is_verified(world: &World) {
    let store = world.store().await;
    let verified = verify(&store).await.unwrap();
    assert_eq!((verified.position, verified.streams, verified.claims), (Position::START, 0, 0));

    let (a, b) = (world.stream(), world.stream());
    let write = |stream: &StreamId, expected| StreamWrite::new(stream.clone(), expected, Vec::new());
    put(&store, [telling(world, write(&a, Expected::NoStream), Some("x"), None)]).await.unwrap();
    put(&store, [telling(world, write(&b, Expected::NoStream), Some("y"), None)]).await.unwrap();
    put(
        &store,
        [
            telling(world, write(&a, Expected::Exactly(1)), Some("y"), Some("x")),
            telling(world, write(&b, Expected::Exactly(1)), Some("x"), Some("y")),
        ],
    )
    .await
    .unwrap();
    put(&store, [erasing(world, &b, Expected::Exactly(2), true)]).await.unwrap();
    let verified = verify(&store).await.unwrap();
    assert_eq!((verified.position, verified.streams), (Position::new(5), 2));
    assert_eq!(verified.root, store.head().await.unwrap().root);

    let store = Arc::new(store);
    let writing = async {
        for n in 0..100 {
            let write =
                telling(world, write(&world.stream(), Expected::NoStream), Some(&format!("w{n}")), None);
            put(&store, [write]).await.unwrap();
        }
    };
    let verifying = async {
        for _ in 0..10 {
            verify(&store).await.unwrap();
        }
    };
    tokio::join!(writing, verifying);
    assert_eq!(
        verify(&store).await.unwrap().position,
        Position::new(u64::try_from(all(&store).await.len()).unwrap())
    );
}

/// A claim that is held and not said, or said and not held, is found, at the last event of its stream.
pub async fn claims_that_the_events_do_not_say_are_found(world: &World) {
    let store = world.store().await;
    let write = |expected| StreamWrite::new(world.stream(), expected, Vec::new());
    put(&store, [telling(world, write(Expected::NoStream), Some("x"), None)]).await.unwrap();
    let silent =
        StreamWrite { take: vec![email("y")], ..telling(world, write(Expected::NoStream), None, None) };
    put(&store, [silent]).await.unwrap();
    let found = verify(&store).await.unwrap_err().to_string();
    assert!(found.starts_with("position 2: ") && found.contains("holds 1 others"), "{found}");
    let boast =
        StreamWrite { take: Vec::new(), ..telling(world, write(Expected::NoStream), Some("z"), None) };
    store.append(&append([boast])).await.unwrap();
    let found = verify(&store).await.unwrap_err().to_string();
    assert!(found.starts_with("position 2: ") || found.starts_with("position 3: "), "{found}");
}

/// A key that is gone is an erasure only if an event says so: without the key a person's data is gone, whoever took it.
pub async fn a_key_that_was_destroyed_in_silence_is_found(world: &World) {
    let store = world.store().await;
    let stream = world.stream();
    let write = StreamWrite::new(stream.clone(), Expected::NoStream, Vec::new());
    put(&store, [telling(world, write, Some("x"), None)]).await.unwrap();
    put(&store, [erasing(world, &stream, Expected::Exactly(1), false)]).await.unwrap();
    let found = verify(&store).await.unwrap_err().to_string();
    assert!(found.starts_with("position 2: ") && found.contains("lost its key"), "{found}");
}
