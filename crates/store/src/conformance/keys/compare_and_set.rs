//! Wrapped keys are replaced by compare-and-set.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fixture::{FailAfter, RotationFixture, assert_cannot_open, assert_readable, erase, register};
use crate::conformance::harness::{Harness, json_object, read_all};
use crate::env::Env;
use crate::error::WriteError;
use crate::event::{PersonalData, StreamId};
use crate::rotation::{CLAIMS, KeyReplacement, Rotation, SIGNING};

/// A key that changed or was erased is not replaced. Keys of unknown master keys are counted too.
pub async fn keys_are_replaced_by_compare_and_set(harness: &Harness) {
    let keys = RotationFixture::new(harness).await;
    let store = harness.open_with_master_keys(&keys.handle, keys.old.clone()).await.unwrap();
    let (ada, bob) = (register(harness, &store, "ada").await, register(harness, &store, "bob").await);
    let port = &keys.handle.keys;
    let stored: BTreeMap<_, _> = port.wrapped_keys(None, 10).await.unwrap().into_iter().collect();
    let to = keys.newest.wrap(ada.as_str(), &[7; 32], &Env::system()).unwrap();
    let change = |stream: &StreamId, from: &[u8]| KeyReplacement {
        stream: stream.clone(),
        from: from.to_vec(),
        to: to.clone(),
    };
    erase(harness, &store, &bob).await.unwrap();
    let changes = [
        change(&bob, &stored[&bob]),
        change(&ada, &stored[&bob]),
        change(&harness.new_stream(), &stored[&ada]),
    ];
    assert_eq!(port.replace_keys(&changes).await.unwrap(), 0);
    assert_eq!(port.wrapped_keys(None, 10).await.unwrap(), [(ada.clone(), stored[&ada].clone())]);
    assert_readable(&store, std::slice::from_ref(&bob)).await;

    assert_eq!(port.replace_keys(&[change(&ada, &stored[&ada])]).await.unwrap(), 1);
    register(harness, &store, "cid").await;
    for known in [&[][..], &[keys.old.id()], &[keys.newest.id(), keys.old.id()]] {
        let counted = port.count_keys(known).await.unwrap();
        let counted: Vec<_> = counted.into_iter().filter(|(_, count)| *count > 0).collect();
        let mut expected = vec![(Some(keys.old.id()), 1), (Some(keys.newest.id()), 1)];
        expected.sort_unstable();
        assert_eq!(counted, expected);
    }
    let service = port.service_keys().await.unwrap();
    let stale = port.replace_service_key(SIGNING, &service[CLAIMS], &to).await;
    assert!(matches!(stale, Err(WriteError::Conflict)), "{stale:?}");
    assert_eq!(port.service_keys().await.unwrap(), service);
    // A rotation rewraps what it can and reports the rest.
    let done = keys.rotate().await;
    assert_eq!((done.streams, done.service_keys.len()), (1, 2));
    assert_eq!(done.left.wrapped_by(keys.newest.id()).streams, 1);
}

/// A key that another process changed during the rotation is processed again.
pub async fn key_changed_during_rotation_is_rewrapped(harness: &Harness) {
    let keys = RotationFixture::new(harness).await;
    let store = harness.open_with_master_keys(&keys.handle, keys.old.clone()).await.unwrap();
    for name in ["ada", "bob"] {
        register(harness, &store, name).await;
    }
    let (stream, from) = keys.handle.keys.wrapped_keys(None, 1).await.unwrap().remove(0);
    let key = keys.old.unwrap(stream.as_str(), &from).unwrap();
    let to = keys.old.wrap(stream.as_str(), &key, &Env::system()).unwrap();
    let stopping = FailAfter::read_after(keys.handle.keys.clone(), usize::MAX);
    *stopping.before.lock().await = vec![KeyReplacement { stream, from, to }];
    let rotation = Rotation::new(stopping, Arc::new(keys.both()), Env::system());
    let done = rotation.run(&mut |_, _| {}).await.unwrap();
    assert_eq!((done.streams, done.service_keys.as_slice()), (2, &[SIGNING, CLAIMS][..]));
    assert!(done.left.is_wrapped_only_by(keys.new.id()), "{:?}", done.left);
}

/// A damaged key is left unchanged and reported, and the old master key remains required.
pub async fn damaged_key_keeps_the_old_master_key_required(harness: &Harness) {
    let keys = RotationFixture::new(harness).await;
    let store = harness.open_with_master_keys(&keys.handle, keys.old.clone()).await.unwrap();
    let (ada, bob) = (register(harness, &store, "ada").await, register(harness, &store, "bob").await);
    let port = &keys.handle.keys;
    let stored: BTreeMap<_, _> = port.wrapped_keys(None, 10).await.unwrap().into_iter().collect();
    let swap = |stream: &StreamId, to: &[u8]| KeyReplacement {
        stream: stream.clone(),
        from: stored[stream].clone(),
        to: to.to_vec(),
    };
    port.replace_keys(&[swap(&ada, &stored[&bob])]).await.unwrap();
    let done = keys.rotate().await;
    assert_eq!(
        (done.streams, done.damaged.as_ref(), done.service_keys.as_slice()),
        (1, Some(&ada), &[SIGNING][..])
    );
    assert_cannot_open(harness, &keys, &keys.new, &keys.old).await;
    let put_back =
        KeyReplacement { stream: ada.clone(), from: stored[&bob].clone(), to: stored[&ada].clone() };
    port.replace_keys(&[put_back]).await.unwrap();
    let done = keys.rotate().await;
    assert_eq!((done.streams, done.damaged, done.service_keys.as_slice()), (1, None, &[CLAIMS][..]));
    let now = harness.open_with_master_keys(&keys.handle, keys.new.clone()).await.unwrap();
    assert_eq!(
        read_all(&now).await[0].personal,
        PersonalData::Known(json_object("email", "ada@example.com"))
    );
}
