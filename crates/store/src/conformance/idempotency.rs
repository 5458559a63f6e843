//! Guarantee 5, second half: an append with an idempotency key executes at most once, and its result is
//! recorded for a day.

use futures::future::join_all;
use jiff::ToSpan;

use super::harness::{Harness, build_append, read_all};
use crate::append::{Append, AppendError, ExpectedVersion, StreamWrite};
use crate::event::Position;
use crate::event_store::EventStore;
use crate::idempotency::{IdempotencyKey, RecordedResult, expired_per_commit};

fn key(store: &EventStore, name: &str, request: &str) -> IdempotencyKey {
    store.idempotency_key(&[b"caller", name.as_bytes()], &[request.as_bytes()])
}

fn keyed(key: IdempotencyKey, write: StreamWrite) -> Append {
    Append { idempotency: Some(key), ..build_append([write]) }
}

/// A repeated append is rejected as a duplicate and finds the recorded result, also in another process.
pub async fn repeated_append_executes_once(harness: &Harness) {
    let (store, other) = (harness.open_store().await, harness.open_store().await);
    let (a, b) = (harness.new_stream(), harness.new_stream());
    let key = key(&store, "k", "r");
    assert_eq!(store.recorded_result(&key).await.unwrap(), None);
    let first = store.append(&keyed(key, harness.write(&a, ExpectedVersion::NoStream))).await.unwrap();
    let known = RecordedResult::new(&key, a.clone(), 1, first.position, first.at);
    // Neither the same command nor a different one executes under the same key.
    for write in [harness.write(&a, ExpectedVersion::NoStream), harness.write(&b, ExpectedVersion::NoStream)]
    {
        for store in [&store, &other] {
            let repeated = store.append(&keyed(key, write.clone())).await;
            assert!(matches!(repeated, Err(AppendError::DuplicateRequest)), "{repeated:?}");
            assert_eq!(store.recorded_result(&key).await.unwrap().as_ref(), Some(&known));
        }
    }
    assert_eq!(read_all(&store).await.len(), 1);
}

/// A key is bound to its scope and to one request; reuse for another request is detected.
pub async fn keys_are_bound_to_scope_and_request(harness: &Harness) {
    let store = harness.open_store().await;
    let (mine, other_request) = (key(&store, "k", "r"), key(&store, "k", "s"));
    store
        .append(&keyed(mine, harness.write(&harness.new_stream(), ExpectedVersion::NoStream)))
        .await
        .unwrap();
    let first = store.recorded_result(&other_request).await.unwrap().unwrap();
    assert!(first.is_for(&mine) && !first.is_for(&other_request));
    assert_eq!(store.recorded_result(&key(&store, "l", "r")).await.unwrap(), None);
    store
        .append(&keyed(key(&store, "l", "r"), harness.write(&harness.new_stream(), ExpectedVersion::Any)))
        .await
        .unwrap();
}

/// Of concurrent repeats, in one batch or in several processes, one executes.
pub async fn concurrent_repeats_execute_once(harness: &Harness) {
    let stores = [harness.open_store().await, harness.open_store().await];
    let key = key(&stores[0], "k", "r");
    let append = |n: usize| {
        let append = keyed(key, harness.write(&harness.new_stream(), ExpectedVersion::NoStream));
        let store = &stores[n % 2];
        async move { store.append(&append).await }
    };
    let results = join_all((0..20).map(append)).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let repeated = |result: &&Result<_, _>| matches!(result, Err(AppendError::DuplicateRequest));
    assert_eq!(results.iter().filter(repeated).count(), 19, "{results:?}");
    assert_eq!(read_all(&stores[0]).await.len(), 1);
}

/// A rejected append did not execute, so its key is still free.
pub async fn rejected_append_leaves_its_key_free(harness: &Harness) {
    let store = harness.open_store().await;
    let (stream, key) = (harness.new_stream(), key(&store, "k", "r"));
    let refused = store.append(&keyed(key, harness.write(&stream, ExpectedVersion::Exactly(7)))).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })), "{refused:?}");
    assert_eq!(store.recorded_result(&key).await.unwrap(), None);
    store.append(&keyed(key, harness.write(&stream, ExpectedVersion::NoStream))).await.unwrap();
    assert!(store.recorded_result(&key).await.unwrap().is_some());
}

/// Expired records are deleted in bounded steps: no commit deletes more than [`expired_per_commit`], however
/// many have expired since the last one.
pub async fn expired_keys_are_deleted_in_bounded_steps(harness: &Harness) {
    const KEYS: usize = 300;
    let handle = harness.open_migrated().await;
    let store = harness.store_on(&handle).await;
    let start = harness.now();
    let keys: Vec<_> = (0..KEYS).map(|number| key(&store, &number.to_string(), "r")).collect();
    let append = async |key: IdempotencyKey| {
        let write = harness.write(&harness.new_stream(), ExpectedVersion::NoStream);
        store.append(&keyed(key, write)).await.unwrap();
    };
    join_all(keys.iter().map(|key| append(*key))).await;
    harness.set_clock(start + 25.hours());
    let mut left = KEYS;
    for round in 0..10 {
        append(key(&store, &format!("later-{round}"), "r")).await;
        let stored = join_all(keys.iter().map(|key| handle.log.recorded_result(key.hash()))).await;
        let still = stored.into_iter().filter(|result| result.as_ref().unwrap().is_some()).count();
        assert!(left - still <= expired_per_commit(1), "{} records were deleted by one commit", left - still);
        left = still;
    }
    assert!([0, KEYS].contains(&left), "the backlog is deleted by commits, or by the database itself");
}

/// A key can be used again after a day.
pub async fn keys_expire_after_a_day(harness: &Harness) {
    let store = harness.open_store().await;
    let (start, key) = (harness.now(), key(&store, "k", "r"));
    let write = || harness.write(&harness.new_stream(), ExpectedVersion::NoStream);
    store.append(&keyed(key, write())).await.unwrap();
    harness.set_clock(start + 24.hours() - 1.second());
    assert!(matches!(store.append(&keyed(key, write())).await, Err(AppendError::DuplicateRequest)));
    harness.set_clock(start + 24.hours());
    assert_eq!(store.recorded_result(&key).await.unwrap(), None);
    store.append(&keyed(key, write())).await.unwrap();
    let first = store.recorded_result(&key).await.unwrap().unwrap();
    assert_eq!(first.position, Position::new(2), "the new result replaces the old one");
}
