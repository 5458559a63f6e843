//! Guarantees 1, 2 and 5: appends are atomic, use optimistic concurrency (expected versions), and are
//! durable.

use futures::future::join_all;
use serde_json::json;

use super::harness::{Harness, append_writes, build_append, json_object, read_all};
use crate::append::{Append, AppendError, ExpectedVersion, StreamWrite};
use crate::event::{NewEvent, PersonalData, Position};

/// An append to several streams writes all events, with versions and positions in order.
pub async fn multi_stream_append_is_atomic(harness: &Harness) {
    let store = harness.open_store().await;
    let (a, b) = (harness.new_stream(), harness.new_stream());
    let two = StreamWrite::new(
        a.clone(),
        ExpectedVersion::NoStream,
        vec![harness.personal_event("1"), harness.personal_event("2")],
    );
    let done = append_writes(&store, [two, harness.write(&b, ExpectedVersion::NoStream)]).await.unwrap();
    assert_eq!((done.position, done.versions), (Position::new(3), vec![2, 1]));
    let stored: Vec<_> = read_all(&store)
        .await
        .iter()
        .map(|e| (e.envelope.position.get(), e.envelope.stream.clone(), e.envelope.version))
        .collect();
    assert_eq!(stored, [(1, a.clone(), 1), (2, a, 2), (3, b, 1)]);
}

/// One conflicting write rejects the whole append.
pub async fn rejected_append_writes_nothing(harness: &Harness) {
    let store = harness.open_store().await;
    let (a, b) = (harness.new_stream(), harness.new_stream());
    append_writes(&store, [harness.write(&b, ExpectedVersion::NoStream)]).await.unwrap();
    let refused = append_writes(
        &store,
        [harness.write(&a, ExpectedVersion::NoStream), harness.write(&b, ExpectedVersion::NoStream)],
    )
    .await;
    assert!(matches!(refused, Err(AppendError::Conflict { stream, actual: 1, .. }) if stream == b));
    assert_eq!(read_all(&store).await.len(), 1);
    assert!(store.read_stream(&a).await.unwrap().is_empty());
    assert_eq!(store.head().await.unwrap().position, Position::new(1));
}

/// A conflict reports the actual version.
pub async fn stale_expected_version_is_rejected_with_the_actual_one(harness: &Harness) {
    let store = harness.open_store().await;
    let stream = harness.new_stream();
    append_writes(&store, [harness.write(&stream, ExpectedVersion::NoStream)]).await.unwrap();
    append_writes(&store, [harness.write(&stream, ExpectedVersion::Exactly(1))]).await.unwrap();
    for stale in [ExpectedVersion::NoStream, ExpectedVersion::Exactly(1), ExpectedVersion::Exactly(3)] {
        let refused = append_writes(&store, [harness.write(&stream, stale)]).await;
        assert!(matches!(refused, Err(AppendError::Conflict { actual: 2, .. })), "{stale}: {refused:?}");
    }
    let any = append_writes(&store, [harness.write(&stream, ExpectedVersion::Any)]).await.unwrap();
    assert_eq!(any.versions, [3]);
}

/// Twenty writers in two processes expect the same version; one wins.
pub async fn concurrent_writers_one_wins(harness: &Harness) {
    let processes = [harness.open_store().await, harness.open_store().await];
    let stream = harness.new_stream();
    append_writes(&processes[0], [harness.write(&stream, ExpectedVersion::NoStream)]).await.unwrap();
    let racers = (0..20)
        .map(|n| append_writes(&processes[n % 2], [harness.write(&stream, ExpectedVersion::Exactly(1))]));
    let results = join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let conflicts =
        results.iter().filter(|r| matches!(r, Err(AppendError::Conflict { actual: 2, .. }))).count();
    assert_eq!(conflicts, 19, "{results:?}");
    assert_eq!(read_all(&processes[1]).await.len(), 2);
}

/// Group commit: appends of one batch succeed or fail independently.
pub async fn conflict_leaves_other_appends_of_the_batch_alone(harness: &Harness) {
    let store = harness.open_store().await;
    let contested = harness.new_stream();
    let racers = (0..40).map(|n| {
        let stream = if n % 2 == 0 { contested.clone() } else { harness.new_stream() };
        append_writes(&store, [harness.write(&stream, ExpectedVersion::NoStream)])
    });
    let results = join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 21);
    assert_eq!(read_all(&store).await.len(), 21);
}

/// Every field and every kind of JSON value is read back unchanged.
pub async fn events_round_trip(harness: &Harness) {
    let store = harness.open_store().await;
    let stream = harness.new_stream();
    let data = json!({"text": "Grüße \u{1f600} \"quoted\"\n", "yes": true, "no": false, "zero": 0, "large": 9_007_199_254_740_991_u64,
        "negative": -5, "list": ["a", 1, true], "nested": {"b": 1, "a": {"c": "d"}}, "empty": {}, "none": []});
    let event = NewEvent {
        event_type: "Various".to_owned(),
        schema: 7,
        data: data.as_object().unwrap().clone(),
        personal: json_object("email", "ada@example.com"),
        ..harness.personal_event("")
    };
    let id = event.id;
    let write =
        StreamWrite::new(stream.clone(), ExpectedVersion::NoStream, vec![event, harness.plain_event()]);
    let done = store.append(&Append::new("operator:ada", "req-1", vec![write])).await.unwrap();

    let read = store.read_stream(&stream).await.unwrap();
    assert_eq!(read, read_all(&store).await);
    let (envelope, personal) = (&read[0].envelope, &read[0].personal);
    assert_eq!((envelope.id, envelope.event_type.as_str(), envelope.schema), (id, "Various", 7));
    assert_eq!((envelope.actor.as_str(), envelope.request_id.as_str()), ("operator:ada", "req-1"));
    assert_eq!(serde_json::Value::Object(envelope.data.clone()), data);
    assert_eq!(*personal, PersonalData::Known(json_object("email", "ada@example.com")));
    assert_eq!((envelope.at, done.at), (done.at, harness.now()));
    assert_eq!(
        (read[1].envelope.sealed.as_ref(), &read[1].personal),
        (None, &PersonalData::Known(serde_json::Map::new()))
    );
}

/// An event over 32 KiB is rejected; one just below is accepted.
pub async fn oversized_event_is_rejected(harness: &Harness) {
    let store = harness.open_store().await;
    let sized =
        |bytes: usize| NewEvent { data: json_object("text", &"x".repeat(bytes)), ..harness.plain_event() };
    let write =
        |bytes| [StreamWrite::new(harness.new_stream(), ExpectedVersion::NoStream, vec![sized(bytes)])];
    let refused = append_writes(&store, write(32 * 1024)).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    append_writes(&store, write(31 * 1024)).await.unwrap();
    assert_eq!(read_all(&store).await.len(), 1);
}

/// Acknowledged events survive a restart, and the log continues at the next position.
pub async fn reopened_log_is_complete(harness: &Harness) {
    let first = harness.open_store().await;
    for _ in 0..3 {
        append_writes(&first, [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)])
            .await
            .unwrap();
    }
    let (head, events) = (first.head().await.unwrap(), read_all(&first).await);
    first.close().await;
    let second = harness.open_store().await;
    assert_eq!((second.head().await.unwrap(), read_all(&second).await), (head, events));
    let done = append_writes(&second, [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)])
        .await
        .unwrap();
    assert_eq!(done.position, Position::new(4));
}

/// Contradictory appends and numbers that JSON cannot represent exactly are rejected.
pub async fn invalid_append_is_rejected(harness: &Harness) {
    let store = harness.open_store().await;
    let stream = harness.new_stream();
    let fraction =
        NewEvent { data: Map::from_iter([("half".to_owned(), json!(0.5))]), ..harness.plain_event() };
    for impossible in [
        build_append([]),
        build_append([StreamWrite::new(stream.clone(), ExpectedVersion::Any, Vec::new())]),
        build_append([
            harness.write(&stream, ExpectedVersion::Any),
            harness.write(&stream, ExpectedVersion::Any),
        ]),
        build_append([StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![fraction])]),
        build_append([StreamWrite { erase: true, ..harness.write(&stream, ExpectedVersion::Any) }]),
    ] {
        let refused = store.append(&impossible).await;
        assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
    }
    assert!(read_all(&store).await.is_empty());
}

/// `exists` does not create a log.
pub async fn exists_does_not_create_a_log(harness: &Harness) {
    for _ in 0..2 {
        assert!(!harness.open_unmigrated().await.log.exists().await.unwrap());
    }
    harness.open_store().await;
    assert!(harness.open_unmigrated().await.log.exists().await.unwrap());
}

type Map = serde_json::Map<String, serde_json::Value>;
