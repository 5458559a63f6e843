//! Promises 1, 2 and 5: an append happens whole or not at all, only at the expected version, and stays.

use futures::future::join_all;
use serde_json::json;

use super::world::{World, all, append, object, put};
use crate::append::{Append, AppendError, Expected, StreamWrite};
use crate::event::{NewEvent, PersonalData, Position};

/// Several streams, one append: every event is there, with versions and positions in order.
pub async fn an_append_to_several_streams_happens_whole(world: &World) {
    let store = world.store().await;
    let (a, b) = (world.stream(), world.stream());
    let two = StreamWrite::new(a.clone(), Expected::NoStream, vec![world.event("1"), world.event("2")]);
    let done = put(&store, [two, world.write(&b, Expected::NoStream)]).await.unwrap();
    assert_eq!((done.position, done.versions), (Position::new(3), vec![2, 1]));
    let places: Vec<_> = all(&store)
        .await
        .iter()
        .map(|e| (e.envelope.position.get(), e.envelope.stream.clone(), e.envelope.version))
        .collect();
    assert_eq!(places, [(1, a.clone(), 1), (2, a, 2), (3, b, 1)]);
}

/// One write that cannot happen stops the whole append.
pub async fn a_refused_append_leaves_nothing_behind(world: &World) {
    let store = world.store().await;
    let (a, b) = (world.stream(), world.stream());
    put(&store, [world.write(&b, Expected::NoStream)]).await.unwrap();
    let refused =
        put(&store, [world.write(&a, Expected::NoStream), world.write(&b, Expected::NoStream)]).await;
    assert!(matches!(refused, Err(AppendError::Conflict { stream, actual: 1, .. }) if stream == b));
    assert_eq!(all(&store).await.len(), 1);
    assert!(store.read_stream(&a).await.unwrap().is_empty());
    assert_eq!(store.head().await.unwrap().position, Position::new(1));
}

/// Whoever expects another version is told the actual one.
pub async fn a_stale_append_is_refused_with_the_actual_version(world: &World) {
    let store = world.store().await;
    let stream = world.stream();
    put(&store, [world.write(&stream, Expected::NoStream)]).await.unwrap();
    put(&store, [world.write(&stream, Expected::Exactly(1))]).await.unwrap();
    for stale in [Expected::NoStream, Expected::Exactly(1), Expected::Exactly(3)] {
        let refused = put(&store, [world.write(&stream, stale)]).await;
        assert!(matches!(refused, Err(AppendError::Conflict { actual: 2, .. })), "{stale}: {refused:?}");
    }
    let any = put(&store, [world.write(&stream, Expected::Any)]).await.unwrap();
    assert_eq!(any.versions, [3]);
}

/// Twenty writers in two processes expect the same version: one wins.
pub async fn of_racing_writers_exactly_one_wins(world: &World) {
    let processes = [world.store().await, world.store().await];
    let stream = world.stream();
    put(&processes[0], [world.write(&stream, Expected::NoStream)]).await.unwrap();
    let racers = (0..20).map(|n| put(&processes[n % 2], [world.write(&stream, Expected::Exactly(1))]));
    let results = join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let conflicts =
        results.iter().filter(|r| matches!(r, Err(AppendError::Conflict { actual: 2, .. }))).count();
    assert_eq!(conflicts, 19, "{results:?}");
    assert_eq!(all(&processes[1]).await.len(), 2);
}

/// Appends that wait together are committed together, and judged each by itself.
pub async fn a_loser_does_not_harm_the_others(world: &World) {
    let store = world.store().await;
    let contested = world.stream();
    let racers = (0..40).map(|n| {
        let stream = if n % 2 == 0 { contested.clone() } else { world.stream() };
        put(&store, [world.write(&stream, Expected::NoStream)])
    });
    let results = join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 21);
    assert_eq!(all(&store).await.len(), 21);
}

/// Every field that a caller gives is read back, and so is every kind of value.
pub async fn an_event_comes_back_as_it_was_written(world: &World) {
    let store = world.store().await;
    let stream = world.stream();
    let data = json!({"text": "Grüße \u{1f600} \"quoted\"\n", "yes": true, "no": false, "zero": 0, "large": 9_007_199_254_740_991_u64,
        "negative": -5, "list": ["a", 1, true], "nested": {"b": 1, "a": {"c": "d"}}, "empty": {}, "none": []});
    let event = NewEvent {
        event_type: "Various".to_owned(),
        schema: 7,
        data: data.as_object().unwrap().clone(),
        personal: object("email", "ada@example.com"),
        ..world.event("")
    };
    let id = event.id;
    let write = StreamWrite::new(stream.clone(), Expected::NoStream, vec![event, world.plain_event()]);
    let done = store.append(&Append::new("operator:ada", "req-1", vec![write])).await.unwrap();

    let read = store.read_stream(&stream).await.unwrap();
    assert_eq!(read, all(&store).await);
    let (envelope, personal) = (&read[0].envelope, &read[0].personal);
    assert_eq!((envelope.id, envelope.event_type.as_str(), envelope.schema), (id, "Various", 7));
    assert_eq!((envelope.actor.as_str(), envelope.request_id.as_str()), ("operator:ada", "req-1"));
    assert_eq!(serde_json::Value::Object(envelope.data.clone()), data);
    assert_eq!(*personal, PersonalData::Known(object("email", "ada@example.com")));
    assert_eq!((envelope.at, done.at), (done.at, world.now()));
    assert_eq!(
        (read[1].envelope.sealed.as_ref(), &read[1].personal),
        (None, &PersonalData::Known(serde_json::Map::new()))
    );
}

/// An event over 32 KiB is refused before it is written; one just below is taken.
pub async fn an_event_too_large_is_refused(world: &World) {
    let store = world.store().await;
    let sized = |bytes: usize| NewEvent { data: object("text", &"x".repeat(bytes)), ..world.plain_event() };
    let write = |bytes| [StreamWrite::new(world.stream(), Expected::NoStream, vec![sized(bytes)])];
    let refused = put(&store, write(32 * 1024)).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    put(&store, write(31 * 1024)).await.unwrap();
    assert_eq!(all(&store).await.len(), 1);
}

/// What was acknowledged is there for the next process, which goes on where the log stands.
pub async fn a_reopened_log_has_everything(world: &World) {
    let first = world.store().await;
    for _ in 0..3 {
        put(&first, [world.write(&world.stream(), Expected::NoStream)]).await.unwrap();
    }
    let (head, events) = (first.head().await.unwrap(), all(&first).await);
    first.close().await;
    let second = world.store().await;
    assert_eq!((second.head().await.unwrap(), all(&second).await), (head, events));
    let done = put(&second, [world.write(&world.stream(), Expected::NoStream)]).await.unwrap();
    assert_eq!(done.position, Position::new(4));
}

/// Appends that contradict themselves, or hold what JSON cannot keep exactly, are refused.
pub async fn an_impossible_append_is_refused(world: &World) {
    let store = world.store().await;
    let stream = world.stream();
    let fraction =
        NewEvent { data: Map::from_iter([("half".to_owned(), json!(0.5))]), ..world.plain_event() };
    for impossible in [
        append([]),
        append([StreamWrite::new(stream.clone(), Expected::Any, Vec::new())]),
        append([world.write(&stream, Expected::Any), world.write(&stream, Expected::Any)]),
        append([StreamWrite::new(stream.clone(), Expected::Any, vec![fraction])]),
        append([StreamWrite { erase: true, ..world.write(&stream, Expected::Any) }]),
    ] {
        let refused = store.append(&impossible).await;
        assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
    }
    assert!(all(&store).await.is_empty());
}

/// Whether there is a log can be asked without there being one afterwards.
pub async fn looking_for_a_log_does_not_make_one(world: &World) {
    for _ in 0..2 {
        assert!(!world.untouched().await.log.exists().await.unwrap());
    }
    world.store().await;
    assert!(world.untouched().await.log.exists().await.unwrap());
}

type Map = serde_json::Map<String, serde_json::Value>;
