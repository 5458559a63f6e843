//! Guarantee 8: crypto-shredding. Erasing a stream destroys its data key and releases its claims in one
//! commit; the log is unchanged.

use futures::future::join_all;
use serde_json::Map;

use super::harness::{Harness, append_writes, json_object, read_all};
use crate::append::{AppendError, ExpectedVersion, StreamWrite};
use crate::backend::EventQuery;
use crate::canonical::canonical_event;
use crate::event::{PersonalData, StreamId};
use crate::event_store::{EventStore, KeyState};
use crate::merkle::{Frontier, leaf_hash};

async fn with_two_people(harness: &Harness) -> (EventStore, StreamId, StreamId) {
    let store = harness.open_store().await;
    let (ada, bob) = (harness.new_stream(), harness.new_stream());
    append_writes(&store, [harness.write_claiming_email(&ada, "ada@example.com")]).await.unwrap();
    append_writes(&store, [harness.write_claiming_email(&bob, "bob@example.com")]).await.unwrap();
    (store, ada, bob)
}

fn erasing(harness: &Harness, stream: &StreamId) -> StreamWrite {
    StreamWrite {
        erase: true,
        ..StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![harness.plain_event()])
    }
}

/// The events remain, without personal data in every process; other streams stay readable; leaves and root do
/// not change.
pub async fn erased_stream_keeps_events_and_loses_personal_data(harness: &Harness) {
    let (store, ada, bob) = with_two_people(harness).await;
    let other = harness.open_store().await;
    let before = read_all(&other).await;
    append_writes(&store, [erasing(harness, &ada)]).await.unwrap();
    let now = read_all(&other).await;
    assert_eq!(now.len(), 3);
    assert_eq!(now[0].personal, PersonalData::Erased);
    assert_eq!(now[1].personal, PersonalData::Known(json_object("email", "ada@example.com")));
    assert_eq!(now[1].envelope.stream, bob);
    let whole = EventQuery { limit: 10, ..EventQuery::default() };
    let redacted = other.redacted_page(&whole).await.unwrap().events;
    let personal: Vec<_> = redacted.into_iter().map(|event| event.personal).collect();
    let none = || PersonalData::Known(Map::new());
    assert_eq!(personal, [PersonalData::Erased, none(), none()], "the erasure is visible without decryption");
    let mut frontier = Frontier::default();
    for (index, event) in now.iter().enumerate() {
        assert_eq!(event.envelope.leaf, leaf_hash(&canonical_event(&event.envelope).unwrap()));
        assert!(before.get(index).is_none_or(|earlier| earlier.envelope == event.envelope));
        frontier.push(event.envelope.leaf);
    }
    assert_eq!(store.head().await.unwrap().root, frontier.root());
}

/// Many streams are asked for at once, some of them twice.
pub async fn key_states_are_read_in_the_order_given(harness: &Harness) {
    let (store, ada, bob) = with_two_people(harness).await;
    let (plain, other) = (harness.new_stream(), harness.open_store().await);
    let no_key = StreamWrite::new(plain.clone(), ExpectedVersion::NoStream, vec![harness.plain_event()]);
    append_writes(&store, [no_key, erasing(harness, &ada)]).await.unwrap();
    let mut asked: Vec<_> = (0..700).map(|_| harness.new_stream()).collect();
    asked.extend([bob.clone(), plain, ada, bob]);
    other.head().await.unwrap();
    let states = other.key_states(&asked).await.unwrap();
    assert_eq!(states[..700], [KeyState::Absent; 700]);
    assert_eq!(states[700..], [KeyState::Present, KeyState::Absent, KeyState::Erased, KeyState::Present]);
    assert_eq!(other.key_states(&[]).await.unwrap(), []);
}

/// Every later append is rejected as `Erased`, whatever version it expects.
pub async fn erased_stream_rejects_appends(harness: &Harness) {
    let (store, ada, _) = with_two_people(harness).await;
    append_writes(&store, [erasing(harness, &ada)]).await.unwrap();
    let plain = |expected| StreamWrite::new(ada.clone(), expected, vec![harness.plain_event()]);
    for write in [
        plain(ExpectedVersion::Any),
        plain(ExpectedVersion::Exactly(2)),
        plain(ExpectedVersion::NoStream),
        harness.write(&ada, ExpectedVersion::Exactly(2)),
        harness.write(&ada, ExpectedVersion::NoStream),
        erasing(harness, &ada),
    ] {
        for process in [&store, &harness.open_store().await] {
            let refused = append_writes(process, [write.clone()]).await;
            assert!(matches!(&refused, Err(AppendError::Erased { stream }) if *stream == ada), "{refused:?}");
        }
    }
    assert_eq!(read_all(&store).await.len(), 3);
    let never = append_writes(&store, [erasing(harness, &harness.new_stream())]).await;
    assert!(
        matches!(never, Err(AppendError::Invalid(_))),
        "a stream without personal data cannot be erased: {never:?}"
    );
}

/// The claims can be taken again, even in the same append.
pub async fn erased_stream_releases_its_claims(harness: &Harness) {
    let (store, ada, bob) = with_two_people(harness).await;
    let heir = harness.new_stream();
    append_writes(&store, [erasing(harness, &ada), harness.write_claiming_email(&heir, "ada@example.com")])
        .await
        .unwrap();
    let refused =
        append_writes(&store, [harness.write_claiming_email(&harness.new_stream(), "ada@example.com")]).await;
    assert!(matches!(refused, Err(AppendError::ClaimTaken { .. })), "{refused:?}");
    append_writes(&store, [erasing(harness, &bob)]).await.unwrap();
    append_writes(&store, [harness.write_claiming_email(&harness.new_stream(), "bob@example.com")])
        .await
        .unwrap();
}

fn logins_of(user: &StreamId) -> StreamId {
    StreamId::new(user.as_str().replacen("user-", "logins-", 1)).unwrap()
}

/// Events of a stream that is sealed under the key of another one are read by every process while that one exists,
/// and lose their personal data with it, without an entry of their own in the key store.
pub async fn erasure_reaches_streams_sealed_under_the_same_key(harness: &Harness) {
    let (store, ada, bob) = with_two_people(harness).await;
    let (process, other) = (harness.open_migrated().await, harness.open_store().await);
    let (hers, his) = (logins_of(&ada), logins_of(&bob));
    append_writes(&store, [harness.write(&hers, ExpectedVersion::NoStream)]).await.unwrap();
    append_writes(&other, [harness.write(&hers, ExpectedVersion::Any)]).await.unwrap();
    append_writes(&other, [harness.write(&his, ExpectedVersion::Any)]).await.unwrap();
    let known = || PersonalData::Known(json_object("email", "ada@example.com"));
    assert!(other.read_stream(&hers).await.unwrap().iter().all(|event| event.personal == known()));
    assert!(process.log.key_entries(&[hers.clone(), his.clone()]).await.unwrap().is_empty());

    append_writes(&store, [erasing(harness, &ada)]).await.unwrap();
    for store in [&store, &other] {
        let erased = store.read_stream(&hers).await.unwrap();
        assert!(erased.len() == 2 && erased.iter().all(|event| event.personal == PersonalData::Erased));
        assert_eq!(store.read_stream(&his).await.unwrap()[0].personal, known());
        let whole = EventQuery { limit: 10, stream: Some(hers.clone()), ..EventQuery::default() };
        let redacted = store.redacted_page(&whole).await.unwrap().events;
        assert!(redacted.iter().all(|event| event.personal == PersonalData::Erased));
    }
    let plain = StreamWrite::new(hers.clone(), ExpectedVersion::Any, vec![harness.plain_event()]);
    for write in [harness.write(&hers, ExpectedVersion::Any), plain] {
        let refused = append_writes(&other, [write]).await;
        assert!(matches!(&refused, Err(AppendError::Erased { stream }) if *stream == ada), "{refused:?}");
    }
}

/// A stream that is sealed under the key of another one does not exist without that one, and neither takes claims
/// nor is erased by itself.
pub async fn streams_without_their_key_owner_are_rejected(harness: &Harness) {
    let (store, ada, _) = with_two_people(harness).await;
    let unknown = logins_of(&harness.new_stream());
    let plain = |stream: &StreamId| {
        StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![harness.plain_event()])
    };
    let claiming = harness.write_claiming_email(&logins_of(&ada), "eve@example.com");
    for write in [harness.write(&unknown, ExpectedVersion::Any), plain(&unknown), claiming] {
        let refused = append_writes(&store, [write]).await;
        assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
    }
    let refused = append_writes(&store, [erasing(harness, &logins_of(&ada))]).await;
    assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
    assert_eq!(read_all(&store).await.len(), 2);
}

/// Of concurrent logins and an erasure, no login that comes after it is committed.
pub async fn concurrent_erasure_ends_streams_sealed_under_the_same_key(harness: &Harness) {
    let (store, ada, _) = with_two_people(harness).await;
    let other = harness.open_store().await;
    let hers = logins_of(&ada);
    let logins = (0..20).map(|_| append_writes(&other, [harness.write(&hers, ExpectedVersion::Any)]));
    let (logins, erased) = tokio::join!(join_all(logins), append_writes(&store, [erasing(harness, &ada)]));
    let erased = erased.unwrap().position;
    for login in logins {
        match login {
            Ok(appended) => assert!(appended.position < erased),
            Err(error) => {
                assert!(matches!(&error, AppendError::Erased { stream } if *stream == ada), "{error}");
            }
        }
    }
    assert!(
        read_all(&store)
            .await
            .iter()
            .all(|event| { event.envelope.stream != hers || event.envelope.position < erased })
    );
}
