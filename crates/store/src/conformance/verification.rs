//! Verification of the log passes on everything that was appended, also during appends, and finds missing and
//! surplus claims.

use std::sync::Arc;

use super::harness::{Harness, append_writes, build_append, email_claim, read_all};
use crate::append::{Claim, ExpectedVersion, StreamWrite};
use crate::event::{Position, StoredEvent, StreamId};
use crate::event_store::EventStore;
use crate::verify::{ClaimChange, Finding, FindingKind, Verified, VerifyError};

/// Decodes the claim changes that the events of these tests declare: claims `taken` and `given` back, and
/// `erases`.
fn changes(event: &StoredEvent) -> ClaimChange {
    let claims = |field: &str| match event.envelope.data.get(field).and_then(|value| value.as_str()) {
        Some(value) => vec![email_claim(value)],
        None => Vec::new(),
    };
    let erases = event.envelope.data.get("erases").is_some_and(|erases| erases == true);
    let owner = event.envelope.data.get("owner").and_then(|owner| owner.as_str());
    let owner = owner.map(|owner| StreamId::new(owner).unwrap());
    ClaimChange {
        take: claims("taken"),
        take_if_free: claims("taken_if_free"),
        release: claims("given"),
        release_if_held: claims("given_if_held"),
        erases,
        owner,
    }
}

async fn verify(store: &EventStore) -> Result<Verified, VerifyError> {
    store.verify(|event| Ok(changes(event)), &mut |_, _| {}).await
}

async fn finding(store: &EventStore) -> Finding {
    match verify(store).await {
        Err(VerifyError::Found(finding)) => Some(finding),
        Ok(_) | Err(VerifyError::Store(_)) => None,
    }
    .unwrap()
}

/// A write whose event declares which claims it takes and releases.
fn declaring(
    harness: &Harness,
    mut write: StreamWrite,
    taken: Option<&str>,
    given: Option<&str>,
) -> StreamWrite {
    let mut event = harness.personal_event("user@example.com");
    for (field, value) in [("taken", taken), ("given", given)] {
        event.data.extend(value.map(|value| (field.to_owned(), value.into())));
    }
    write.events = vec![event];
    let claims = |value: Option<&str>| -> Vec<Claim> { value.map(email_claim).into_iter().collect() };
    write.take = claims(taken);
    write.release = claims(given);
    write
}

/// A write that erases its stream; `declared` is what its event says.
fn erasing(harness: &Harness, stream: &StreamId, expected: ExpectedVersion, declared: bool) -> StreamWrite {
    let mut event = harness.plain_event();
    event.data.insert("erases".to_owned(), declared.into());
    StreamWrite { erase: true, ..StreamWrite::new(stream.clone(), expected, vec![event]) }
}

/// Verifies an empty log, a log with claims that were taken, swapped and erased, and a log during appends.
pub async fn intact_log_verifies(harness: &Harness) {
    let store = harness.open_store().await;
    let verified = verify(&store).await.unwrap();
    assert_eq!((verified.position, verified.streams, verified.claims), (Position::START, 0, 0));

    let (a, b) = (harness.new_stream(), harness.new_stream());
    let write = |stream: &StreamId, expected| StreamWrite::new(stream.clone(), expected, Vec::new());
    append_writes(&store, [declaring(harness, write(&a, ExpectedVersion::NoStream), Some("x"), None)])
        .await
        .unwrap();
    append_writes(&store, [declaring(harness, write(&b, ExpectedVersion::NoStream), Some("y"), None)])
        .await
        .unwrap();
    append_writes(
        &store,
        [
            declaring(harness, write(&a, ExpectedVersion::Exactly(1)), Some("y"), Some("x")),
            declaring(harness, write(&b, ExpectedVersion::Exactly(1)), Some("x"), Some("y")),
        ],
    )
    .await
    .unwrap();
    append_writes(&store, [erasing(harness, &b, ExpectedVersion::Exactly(2), true)]).await.unwrap();
    let verified = verify(&store).await.unwrap();
    assert_eq!((verified.position, verified.streams), (Position::new(5), 2));
    assert_eq!(verified.root, store.head().await.unwrap().root);

    let store = Arc::new(store);
    let writing = async {
        for n in 0..100 {
            let write = declaring(
                harness,
                write(&harness.new_stream(), ExpectedVersion::NoStream),
                Some(&format!("w{n}")),
                None,
            );
            append_writes(&store, [write]).await.unwrap();
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
        Position::new(u64::try_from(read_all(&store).await.len()).unwrap())
    );
}

/// A claim that is held but not declared, or declared but not held, is found at the last event of its stream.
pub async fn claims_contradicting_the_events_are_found(harness: &Harness) {
    let store = harness.open_store().await;
    let write = |expected| StreamWrite::new(harness.new_stream(), expected, Vec::new());
    append_writes(&store, [declaring(harness, write(ExpectedVersion::NoStream), Some("x"), None)])
        .await
        .unwrap();
    let silent = StreamWrite {
        take: vec![email_claim("y")],
        ..declaring(harness, write(ExpectedVersion::NoStream), None, None)
    };
    append_writes(&store, [silent]).await.unwrap();
    let found = finding(&store).await;
    assert_eq!(found.position, Position::new(2));
    let surplus = matches!(found.kind, FindingKind::ClaimsMismatch { missing: 0, unexpected: 1, .. });
    assert!(surplus, "{found}");
    let boast = StreamWrite {
        take: Vec::new(),
        ..declaring(harness, write(ExpectedVersion::NoStream), Some("z"), None)
    };
    store.append(&build_append([boast])).await.unwrap();
    let found = finding(&store).await;
    assert!([2, 3].contains(&found.position.get()), "{found}");
    assert!(matches!(found.kind, FindingKind::ClaimsMismatch { .. }), "{found}");
}

/// A missing data key counts as an erasure only if an event declares it; otherwise personal data was
/// destroyed.
pub async fn silently_destroyed_key_is_found(harness: &Harness) {
    let store = harness.open_store().await;
    let stream = harness.new_stream();
    let write = StreamWrite::new(stream.clone(), ExpectedVersion::NoStream, Vec::new());
    append_writes(&store, [declaring(harness, write, Some("x"), None)]).await.unwrap();
    append_writes(&store, [erasing(harness, &stream, ExpectedVersion::Exactly(1), false)]).await.unwrap();
    let found = finding(&store).await;
    assert_eq!((found.position, found.kind), (Position::new(2), FindingKind::KeyDestroyed { stream }));
}

/// A stream that declares an owner must be erased with it.
pub async fn stream_that_outlives_its_owner_is_found(harness: &Harness) {
    let store = harness.open_store().await;
    let owner = harness.new_stream();
    let belonging = || {
        let mut event = harness.personal_event("https://example.com/");
        event.data.insert("owner".to_owned(), owner.as_str().into());
        StreamWrite::new(harness.new_stream(), ExpectedVersion::NoStream, vec![event])
    };
    let (first, second) = (belonging(), belonging());
    let (one, two) = (first.stream.clone(), second.stream.clone());
    append_writes(&store, [harness.write(&owner, ExpectedVersion::NoStream), first]).await.unwrap();
    append_writes(&store, [erasing(harness, &one, ExpectedVersion::Exactly(1), true)]).await.unwrap();
    append_writes(&store, [second]).await.unwrap();
    verify(&store).await.unwrap();
    append_writes(&store, [erasing(harness, &owner, ExpectedVersion::Exactly(1), true)]).await.unwrap();
    let found = finding(&store).await;
    assert_eq!(
        found,
        Finding::new(Position::new(4), FindingKind::OutlivesOwner { stream: two.clone(), owner })
    );
    append_writes(&store, [erasing(harness, &two, ExpectedVersion::Exactly(1), true)]).await.unwrap();
    verify(&store).await.unwrap();
}

/// Events that are sealed under the key of another stream verify, before its erasure and after it, also while
/// they are appended.
pub async fn streams_sealed_under_another_key_verify(harness: &Harness) {
    let store = harness.open_store().await;
    let ada = harness.new_stream();
    let logins = StreamId::new(ada.as_str().replacen("user-", "logins-", 1)).unwrap();
    append_writes(&store, [harness.write(&ada, ExpectedVersion::NoStream)]).await.unwrap();
    for _ in 0..3 {
        append_writes(&store, [harness.write(&logins, ExpectedVersion::Any)]).await.unwrap();
    }
    assert_eq!(verify(&store).await.unwrap().streams, 2);
    append_writes(&store, [erasing(harness, &ada, ExpectedVersion::Exactly(1), true)]).await.unwrap();
    let verified = verify(&store).await.unwrap();
    assert_eq!((verified.position, verified.streams), (Position::new(5), 2));
}
