//! Rotation of the master key (KEK): no data becomes unreadable and no erased data comes back, despite
//! concurrent writes and interruptions.

mod compare_and_set;
mod fixture;

use std::sync::Arc;

use futures::future::join_all;

use self::fixture::{
    FailAfter, RotationFixture, assert_cannot_open, assert_key_missing, assert_readable, erase, register,
};
use super::harness::{Harness, append_writes, read_all};
use crate::append::{AppendError, ExpectedVersion};
use crate::env::Env;
use crate::error::{RefusalReason, StoreError};
use crate::key_store::MasterKeys;
use crate::rotation::{CLAIMS, Rotation, SIGNING};

pub use compare_and_set::{
    damaged_key_keeps_the_old_master_key_required, key_changed_during_rotation_is_rewrapped,
    keys_are_replaced_by_compare_and_set,
};

/// After a rotation the new key alone opens everything and the old key alone opens nothing; a repetition
/// changes nothing.
pub async fn rotation_rewraps_every_key(harness: &Harness) {
    let keys = RotationFixture::new(harness).await;
    let store = harness.open_with_master_keys(&keys.handle, keys.old.clone()).await.unwrap();
    let (_, bob) = (register(harness, &store, "ada").await, register(harness, &store, "bob").await);
    register(harness, &store, "cid").await;
    erase(harness, &store, &bob).await.unwrap();
    let before = keys.master_key_usage().await;
    assert_eq!((before.wrapping_key, before.streams()), (Some(keys.old.id()), 2));
    assert!(before.is_wrapped_only_by(keys.old.id()) && !keys.rotation(keys.both()).is_done().await.unwrap());
    assert_cannot_open(harness, &keys, &keys.new, &keys.old).await;

    let done = keys.rotate().await;
    assert_eq!((done.master, done.streams, done.damaged), (keys.new.id(), 2, None));
    assert_eq!(done.service_keys, [SIGNING, CLAIMS]);
    assert_eq!(done.left, keys.master_key_usage().await);
    assert!(done.left.is_wrapped_only_by(keys.new.id()), "{:?}", done.left);
    assert!(keys.rotation(keys.both()).is_done().await.unwrap());
    let now = harness.open_with_master_keys(&keys.handle, keys.new.clone()).await.unwrap();
    assert_readable(&now, std::slice::from_ref(&bob)).await;
    assert_cannot_open(harness, &keys, &keys.old, &keys.new).await;
    // Claims are hashed with a key that does not change.
    let twin =
        append_writes(&now, [harness.write_claiming_email(&harness.new_stream(), "ada@example.com")]).await;
    assert!(matches!(twin, Err(AppendError::ClaimTaken { .. })), "{twin:?}");

    let stored = keys.handle.keys.wrapped_keys(None, 100).await.unwrap();
    let again = keys.rotate().await;
    assert_eq!((again.streams, again.service_keys.len()), (0, 0));
    assert_eq!(keys.handle.keys.wrapped_keys(None, 100).await.unwrap(), stored);
}

/// Users who register during the rotation get keys wrapped by the new master key; erased users stay erased.
pub async fn registrations_and_erasures_continue_during_rotation(harness: &Harness) {
    let keys = RotationFixture::new(harness).await;
    let first = harness.open_with_master_keys(&keys.handle, keys.both_with_old_first()).await.unwrap();
    let second = harness.open_with_master_keys(&harness.open_unmigrated().await, keys.both()).await.unwrap();
    let mut people = Vec::new();
    for number in 0..40 {
        people.push(register(harness, &first, &format!("early{number}")).await);
    }
    let gone: Vec<_> = people.iter().step_by(2).cloned().collect();
    let registrations = async {
        for number in 0..20 {
            let (one, other) = (format!("late{number}"), format!("later{number}"));
            tokio::join!(register(harness, &first, &one), register(harness, &second, &other));
        }
    };
    let erasures = async {
        for stream in &gone {
            erase(harness, &second, stream).await.unwrap();
        }
    };
    let (done, (), ()) = tokio::join!(keys.rotate(), registrations, erasures);
    assert_eq!(done.damaged, None);
    let left = keys.master_key_usage().await;
    assert!(left.is_wrapped_only_by(keys.new.id()), "{left:?}");
    assert_eq!(left.streams(), 60);
    let now = harness.open_with_master_keys(&keys.handle, keys.new.clone()).await.unwrap();
    for store in [&first, &second, &now] {
        assert_readable(store, &gone).await;
    }
}

/// After the first step of a rotation, an append with a key wrapped by the old master key is rewrapped if the
/// process has the new master key, and rejected otherwise.
pub async fn started_rotation_rejects_the_old_master_key(harness: &Harness) {
    let keys = RotationFixture::new(harness).await;
    let able = harness.open_with_master_keys(&keys.handle, keys.both_with_old_first()).await.unwrap();
    let unable = harness.open_with_master_keys(&keys.handle, keys.old.clone()).await.unwrap();
    let ada = register(harness, &unable, "ada").await;
    let stopping = FailAfter::read_after(keys.handle.keys.clone(), 1);
    let rotation = Rotation::new(stopping, Arc::new(keys.both()), Env::system());
    rotation.run(&mut |_, _| {}).await.unwrap_err();
    assert_eq!(keys.master_key_usage().await.wrapping_key, Some(keys.new.id()));

    register(harness, &able, "bob").await;
    assert_eq!(keys.master_key_usage().await.wrapped_by(keys.new.id()).streams, 1, "wrapped by the new key");
    let cid = harness.write_claiming_email(&harness.new_stream(), "cid@example.com");
    for _ in 0..2 {
        let refused = append_writes(&unable, [cid.clone()]).await.unwrap_err();
        let AppendError::Store(refused) = refused else { unreachable!("{refused:?}") };
        assert_key_missing(&refused, &keys.new);
    }
    assert_eq!(unable.head().await.unwrap().position.get(), 2);
    // The process continues with streams whose keys it can unwrap; the others are an error, not missing.
    append_writes(&unable, [harness.write(&ada, ExpectedVersion::Any)]).await.unwrap();
    let unread = unable.read(&crate::backend::EventQuery { limit: 9, ..Default::default() }).await;
    assert_key_missing(&unread.unwrap_err(), &keys.new);
    keys.rotate().await;
    assert_readable(&able, &[]).await;
}

/// The first step is serialised with every append: once it is done, no batch in progress stores a key wrapped
/// by the old master key.
pub async fn old_master_key_wraps_nothing_after_the_first_step(harness: &Harness) {
    let keys = RotationFixture::new(harness).await;
    let processes = [
        harness.open_with_master_keys(&keys.handle, keys.both()),
        harness.open_with_master_keys(&keys.handle, keys.both_with_old_first()),
    ];
    let processes = join_all(processes).await;
    for round in 0..24 {
        let (from, to) = if round % 2 == 0 { (&keys.old, &keys.new) } else { (&keys.new, &keys.old) };
        let names: Vec<_> = (0..8).map(|number| format!("user{round}-{number}")).collect();
        let registrations = names.iter().zip(processes.iter().cycle());
        let registrations = registrations.map(async |(name, process)| {
            for again in 0..3 {
                register(harness, process.as_ref().unwrap(), &format!("{name}-{again}")).await;
            }
        });
        let step = async {
            let wrapped = keys.handle.keys.service_keys().await.unwrap().remove(SIGNING).unwrap();
            let key = from.unwrap("keys/signing", &wrapped).unwrap();
            let rewrapped = to.wrap("keys/signing", &key, &Env::system()).unwrap();
            keys.handle.keys.replace_service_key(SIGNING, &wrapped, &rewrapped).await.unwrap();
            keys.master_key_usage().await.wrapped_by(from.id()).streams
        };
        let (before, _) = tokio::join!(step, join_all(registrations));
        assert_eq!(keys.master_key_usage().await.wrapped_by(from.id()).streams, before, "round {round}");
    }
    assert_eq!(keys.master_key_usage().await.streams(), 24 * 8 * 3);
}

/// After an interruption at any step, a process with both keys can start and read, and a new rotation
/// completes; a process with the new key alone cannot start while the old key is still needed.
pub async fn interrupted_rotation_resumes(harness: &Harness) {
    let keys = RotationFixture::new(harness).await;
    let store = harness.open_with_master_keys(&keys.handle, keys.old.clone()).await.unwrap();
    let names: Vec<_> = (0..1100).map(|number| format!("user{number}")).collect();
    join_all(names.iter().map(|name| register(harness, &store, name))).await;
    let mut interruptions = 0;
    loop {
        // Each attempt completes one step; the next step fails.
        let stopping = FailAfter::read_after(keys.handle.keys.clone(), 1);
        let rotation = Rotation::new(stopping, Arc::new(keys.both()), Env::system());
        if let Ok(done) = rotation.run(&mut |_, _| {}).await {
            assert!(done.left.is_wrapped_only_by(keys.new.id()), "{:?}", done.left);
            break;
        }
        interruptions += 1;
        assert_cannot_open(harness, &keys, &keys.new, &keys.old).await;
        let both = harness.open_with_master_keys(&keys.handle, keys.both()).await.unwrap();
        assert_eq!(read_all(&both).await.len(), names.len());
    }
    assert_eq!(interruptions, 4, "the first service key, then three pages");
    assert_readable(&harness.open_with_master_keys(&keys.handle, keys.new.clone()).await.unwrap(), &[]).await;
}

/// Two rotations to the same key share the work. Of two rotations to different keys, the one that started
/// later wins.
pub async fn concurrent_rotations_are_safe(harness: &Harness) {
    let keys = RotationFixture::new(harness).await;
    let store = harness.open_with_master_keys(&keys.handle, keys.old.clone()).await.unwrap();
    let names: Vec<_> = (0..60).map(|number| format!("user{number}")).collect();
    join_all(names.iter().map(|name| register(harness, &store, name))).await;
    let (one, other) = tokio::join!(keys.rotate(), keys.rotate());
    assert_eq!(one.streams + other.streams, 60);
    assert!(keys.master_key_usage().await.is_wrapped_only_by(keys.new.id()));

    let three = || MasterKeys::new(keys.newest.clone(), [keys.new.clone(), keys.old.clone()]);
    let back = || MasterKeys::new(keys.old.clone(), [keys.new.clone(), keys.newest.clone()]);
    let (to_newest, to_old) = (keys.rotation(three()), keys.rotation(back()));
    let (mut nothing, mut either) = (|_, _| {}, |_, _| {});
    let (first, second) = tokio::join!(to_newest.run(&mut nothing), to_old.run(&mut either));
    for outcome in [first, second] {
        let error = outcome.as_ref().err();
        let overtaken = |error: &StoreError| {
            matches!(error, StoreError::Refused(RefusalReason::RotationSuperseded { .. }))
        };
        assert!(error.is_none_or(overtaken), "{outcome:?}");
    }
    to_newest.run(&mut |_, _| {}).await.unwrap();
    assert!(keys.master_key_usage().await.is_wrapped_only_by(keys.newest.id()));
    let now = harness.open_with_master_keys(&keys.handle, keys.newest.clone()).await.unwrap();
    assert_readable(&now, &[]).await;
}
