//! Guarantee 8: crypto-shredding. Erasing a stream destroys its data key and releases its claims in one
//! commit; the log is unchanged.

use serde_json::Map;

use super::harness::{Harness, append_writes, json_object, read_all};
use crate::append::{AppendError, ExpectedVersion, StreamWrite};
use crate::backend::EventQuery;
use crate::canonical::canonical_event;
use crate::event::{PersonalData, StreamId};
use crate::event_store::EventStore;
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
