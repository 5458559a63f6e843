//! Promise 5, the second half: an append under an idempotency key happens at most once, and what came of the first is
//! known for a day.

use futures::future::join_all;
use jiff::ToSpan;

use super::world::{World, all, append};
use crate::append::{Append, AppendError, Expected, StreamWrite};
use crate::event::Position;
use crate::event_store::EventStore;
use crate::idempotency::{FirstResult, IdempotencyKey};

fn key(store: &EventStore, name: &str, request: &str) -> IdempotencyKey {
    store.idempotency_key(&[b"caller", name.as_bytes()], &[request.as_bytes()])
}

fn keyed(key: IdempotencyKey, write: StreamWrite) -> Append {
    Append { idempotency: Some(key), ..append([write]) }
}

/// The second append is told so, writes nothing, and leads to the first, also in another process.
pub async fn a_repeated_append_happens_once(world: &World) {
    let (store, other) = (world.store().await, world.store().await);
    let (a, b) = (world.stream(), world.stream());
    let key = key(&store, "k", "r");
    assert_eq!(store.first_result(&key).await.unwrap(), None);
    let first = store.append(&keyed(key, world.write(&a, Expected::NoStream))).await.unwrap();
    let known = FirstResult {
        request: key.request,
        stream: a.clone(),
        version: 1,
        position: first.position,
        at: first.at,
    };
    // The same command judged anew, and another one: neither happens.
    for write in [world.write(&a, Expected::NoStream), world.write(&b, Expected::NoStream)] {
        for store in [&store, &other] {
            let repeated = store.append(&keyed(key, write.clone())).await;
            assert!(matches!(repeated, Err(AppendError::Repeated)), "{repeated:?}");
            assert_eq!(store.first_result(&key).await.unwrap().as_ref(), Some(&known));
        }
    }
    assert_eq!(all(&store).await.len(), 1);
}

/// A key belongs to its scope and to one request; the same key for another request is told apart.
pub async fn keys_are_told_apart(world: &World) {
    let store = world.store().await;
    let (mine, other_request) = (key(&store, "k", "r"), key(&store, "k", "s"));
    store.append(&keyed(mine, world.write(&world.stream(), Expected::NoStream))).await.unwrap();
    let first = store.first_result(&other_request).await.unwrap().unwrap();
    assert!(first.is_of(&mine) && !first.is_of(&other_request));
    assert_eq!(store.first_result(&key(&store, "l", "r")).await.unwrap(), None);
    store.append(&keyed(key(&store, "l", "r"), world.write(&world.stream(), Expected::Any))).await.unwrap();
}

/// Of many at once, in the same batch or in several processes, one happens.
pub async fn of_repeated_appends_at_once_one_happens(world: &World) {
    let stores = [world.store().await, world.store().await];
    let key = key(&stores[0], "k", "r");
    let append = |n: usize| {
        let append = keyed(key, world.write(&world.stream(), Expected::NoStream));
        let store = &stores[n % 2];
        async move { store.append(&append).await }
    };
    let verdicts = join_all((0..20).map(append)).await;
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_ok()).count(), 1);
    let repeated = |verdict: &&Result<_, _>| matches!(verdict, Err(AppendError::Repeated));
    assert_eq!(verdicts.iter().filter(repeated).count(), 19, "{verdicts:?}");
    assert_eq!(all(&stores[0]).await.len(), 1);
}

/// What was refused was not done, so its key is still free.
pub async fn a_refused_append_leaves_its_key_free(world: &World) {
    let store = world.store().await;
    let (stream, key) = (world.stream(), key(&store, "k", "r"));
    let refused = store.append(&keyed(key, world.write(&stream, Expected::Exactly(7)))).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })), "{refused:?}");
    assert_eq!(store.first_result(&key).await.unwrap(), None);
    store.append(&keyed(key, world.write(&stream, Expected::NoStream))).await.unwrap();
    assert!(store.first_result(&key).await.unwrap().is_some());
}

/// After a day a key is as good as new.
pub async fn keys_are_kept_for_a_day(world: &World) {
    let store = world.store().await;
    let (start, key) = (world.now(), key(&store, "k", "r"));
    let write = || world.write(&world.stream(), Expected::NoStream);
    store.append(&keyed(key, write())).await.unwrap();
    world.set_clock(start + 24.hours() - 1.second());
    assert!(matches!(store.append(&keyed(key, write())).await, Err(AppendError::Repeated)));
    world.set_clock(start + 24.hours());
    assert_eq!(store.first_result(&key).await.unwrap(), None);
    store.append(&keyed(key, write())).await.unwrap();
    let first = store.first_result(&key).await.unwrap().unwrap();
    assert_eq!(first.position, Position::new(2), "the new one has taken the old one's place");
}
