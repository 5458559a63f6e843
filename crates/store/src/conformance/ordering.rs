//! Guarantees 4, 6 and 7: gapless positions in commit order, monotonic timestamps, a head that commits to the
//! events, and a notification for every commit.

use std::sync::Arc;

use futures::future::join_all;
use jiff::{SignedDuration, ToSpan};

use super::harness::{Harness, TIMEOUT, WallClock, append_writes, build_append, read_after, read_all};
use crate::append::{AppendError, ExpectedVersion, StreamWrite};
use crate::backend::EventQuery;
use crate::canonical::canonical_event;
use crate::env::Env;
use crate::event::{NewEvent, Position};
use crate::merkle::{Frontier, leaf_hash};

/// Two processes append concurrently while a subscriber reads: it receives every event once and in order, and
/// what it has read does not change afterwards.
pub async fn positions_are_gapless_and_readers_miss_nothing(harness: &Harness) {
    const EACH: usize = 150;
    let processes = [harness.open_store().await, harness.open_store().await];
    let writers = join_all((0..2 * EACH).map(|n| {
        let store = &processes[n % 2];
        async move {
            append_writes(store, [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)])
                .await
                .unwrap()
                .position
        }
    }));
    let reader = harness.open_store().await;
    let following = async {
        let mut seen = Vec::new();
        while seen.len() < 2 * EACH {
            let last = seen
                .last()
                .map_or(Position::START, |event: &crate::event::StoredEvent| event.envelope.position);
            // `read` itself rejects a gap.
            seen.extend(read_after(&reader, last).await);
            tokio::task::yield_now().await;
        }
        seen
    };
    let (mut acknowledged, seen) =
        tokio::time::timeout(TIMEOUT, async { tokio::join!(writers, following) }).await.unwrap();
    acknowledged.sort_unstable();
    let expected: Vec<_> = (1..).take(2 * EACH).map(Position::new).collect();
    assert_eq!(acknowledged, expected, "every append has its own position");
    assert_eq!(seen, read_all(&reader).await, "reading again returns the same events");
}

/// If the clock goes back by an hour, `at` stays the same instead of decreasing.
pub async fn timestamps_are_monotonic_despite_clock_skew(harness: &Harness) {
    let store = harness.open_store().await;
    let start = harness.now();
    for offset in [0, 5, -3600, -10, 6] {
        harness.set_clock(start + SignedDuration::from_secs(offset));
        append_writes(&store, [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)])
            .await
            .unwrap();
    }
    let times: Vec<_> = read_all(&store)
        .await
        .iter()
        .map(|event| event.envelope.at.duration_since(start).as_secs())
        .collect();
    assert_eq!(times, [0, 5, 5, 5, 6]);
}

/// The clock of a process jumps ahead by ten years. A database with a clock of its own stamps events by that; on
/// any other, the appends of the process are refused until its clock is right again.
pub async fn wrong_clock_of_a_process_stamps_no_event(harness: &Harness) {
    let write = || [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)];
    let clock = Arc::new(WallClock::default());
    let store = harness.open_store_with_clock(&clock).await;
    append_writes(&store, write()).await.unwrap();
    clock.set_ahead(SignedDuration::from_hours(10 * 365 * 24));
    let has_clock = harness.open_migrated().await.log.clock().is_some();
    let appended = append_writes(&store, write()).await;
    if has_clock {
        assert!(appended.unwrap().at < Env::system().now() + 1.minutes());
        assert!(store.clock().offset().unwrap() > SignedDuration::from_hours(24));
    } else {
        assert!(matches!(appended, Err(AppendError::ClockJumped(_))), "{appended:?}");
        assert_eq!(store.head().await.unwrap().position, Position::new(1));
    }
    clock.set_ahead(SignedDuration::ZERO);
    let appended = append_writes(&store, write()).await.unwrap();
    assert!(appended.at < Env::system().now() + 1.minutes());
}

/// Leaves, root, frontier and signature can be recomputed from the stored events.
pub async fn head_commits_to_the_events(harness: &Harness) {
    let store = harness.open_store().await;
    for size in [1, 3, 2, 7] {
        let events = (0..size).map(|n| harness.personal_event(&format!("{n}@example.com"))).collect();
        append_writes(&store, [StreamWrite::new(harness.new_stream(), ExpectedVersion::NoStream, events)])
            .await
            .unwrap();
    }
    let mut frontier = Frontier::default();
    for event in read_all(&store).await {
        assert_eq!(event.envelope.leaf, leaf_hash(&canonical_event(&event.envelope).unwrap()));
        frontier.push(event.envelope.leaf);
    }
    let head = store.head().await.unwrap();
    assert_eq!((head.position.get(), head.root, &head.frontier), (13, frontier.root(), &frontier));
    assert_eq!(head.note, store.signer().sign(13, &frontier.root()));
}

/// A commit of one process notifies a watcher in another, which can then read the event.
pub async fn commits_of_another_process_wake_watchers(harness: &Harness) {
    let (writer, watcher) = (harness.open_store().await, harness.open_store().await);
    let mut updates = watcher.watch_progress();
    for expected in 1..=5 {
        let position = Position::new(expected);
        append_writes(&writer, [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)])
            .await
            .unwrap();
        let woken = updates.wait_for(|progress| progress.head >= position);
        tokio::time::timeout(TIMEOUT, woken).await.unwrap().unwrap();
        assert_eq!(read_after(&watcher, Position::new(expected - 1)).await.len(), 1);
    }
}

/// Filters by type, stream, actor and position, alone and combined.
pub async fn event_queries_filter(harness: &Harness) {
    let store = harness.open_store().await;
    let (a, b) = (harness.new_stream(), harness.new_stream());
    let start = harness.now();
    for (hour, (stream, event_type, actor)) in
        [(&a, "X", "system"), (&b, "X", "operator:1"), (&a, "Y", "system"), (&b, "Z", "system")]
            .into_iter()
            .enumerate()
    {
        harness.set_clock(start + i64::try_from(hour).unwrap().hours());
        let event = NewEvent { event_type: event_type.to_owned(), ..harness.plain_event() };
        let write = StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![event]);
        store
            .append(&crate::append::Append { actor: actor.to_owned(), ..build_append([write]) })
            .await
            .unwrap();
    }
    let all = EventQuery { limit: 100, ..EventQuery::default() };
    let types = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    // More types than a backend looks up individually.
    let many = (0..1000).map(|number| format!("Type{number}")).chain(types(&["Z", "Y"])).collect();
    let store = Arc::new(store);
    for (query, expected) in [
        (all.clone(), vec![1, 2, 3, 4]),
        (EventQuery { limit: 2, ..all.clone() }, vec![1, 2]),
        (EventQuery { after: Position::new(1), until: Some(Position::new(3)), ..all.clone() }, vec![2, 3]),
        (EventQuery { types: types(&["X", "Z", "X"]), ..all.clone() }, vec![1, 2, 4]),
        (EventQuery { types: types(&["X", "Z"]), limit: 2, ..all.clone() }, vec![1, 2]),
        (EventQuery { types: many, ..all.clone() }, vec![3, 4]),
        (EventQuery { stream: Some(b.clone()), ..all.clone() }, vec![2, 4]),
        (EventQuery { actor: Some("operator:1".to_owned()), ..all.clone() }, vec![2]),
        (
            EventQuery { actor: Some("system".to_owned()), types: types(&["Y", "Z"]), ..all.clone() },
            vec![3, 4],
        ),
        (EventQuery { actor: Some("system".to_owned()), stream: Some(b), ..all.clone() }, vec![4]),
        (EventQuery { stream: Some(a), types: types(&["Z"]), ..all.clone() }, vec![]),
    ] {
        let found: Vec<_> =
            store.read(&query).await.unwrap().iter().map(|event| event.envelope.position.get()).collect();
        assert_eq!(found, expected, "{query:?}");
        // A page reports how far it has read, even if it is empty.
        let page = store.page(&query).await.unwrap();
        let pages: Vec<_> = page.events.iter().map(|event| event.envelope.position.get()).collect();
        let end = if expected.len() < query.limit {
            query.until.map_or(4, Position::get)
        } else {
            *expected.last().unwrap()
        };
        assert_eq!((pages, page.next.get()), (expected, end), "{query:?}");
    }
}

/// `last_before` finds the position for a time.
pub async fn positions_are_found_by_time(harness: &Harness) {
    let store = harness.open_store().await;
    let start = harness.now();
    for hour in [0, 1, 1, 2, 5] {
        harness.set_clock(start + hour.hours());
        append_writes(&store, [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)])
            .await
            .unwrap();
    }
    let (bottom, head) = (Position::START, Position::new(5));
    for (hour, expected) in [(-1, 0), (0, 0), (1, 1), (2, 3), (3, 4), (5, 4), (6, 5)] {
        let found = store.last_before(start + hour.hours(), bottom, head).await.unwrap();
        assert_eq!(found, Position::new(expected), "after {hour} hours");
    }
    let within = store.last_before(start + 2.hours(), Position::new(3), head).await.unwrap();
    assert_eq!(within, Position::new(3), "never below `after`");
    let until = store.last_before(start + 9.hours(), bottom, Position::new(2)).await.unwrap();
    assert_eq!(until, Position::new(2), "never above `until`");
    let ahead = store.last_before(start, Position::new(9), head).await.unwrap();
    assert_eq!(ahead, Position::new(9), "a position beyond the head is returned unchanged");
}

/// The newest events of a stream come first, below the given version, and those of other streams not at all.
pub async fn streams_are_read_backwards(harness: &Harness) {
    let store = harness.open_store().await;
    let (stream, other) = (harness.new_stream(), harness.new_stream());
    for _ in 0..5 {
        append_writes(&store, [harness.write(&stream, ExpectedVersion::Any)]).await.unwrap();
        append_writes(&store, [harness.write(&other, ExpectedVersion::Any)]).await.unwrap();
    }
    let store = harness.open_store().await;
    for (before, limit, expected) in [
        (None, 2, &[5, 4][..]),
        (None, 10, &[5, 4, 3, 2, 1]),
        (Some(4), 2, &[3, 2]),
        (Some(1), 2, &[]),
        (Some(u64::MAX), 1, &[5]),
    ] {
        let read = store.read_stream_backwards(&stream, before, limit).await.unwrap();
        let versions: Vec<_> = read.iter().map(|event| event.envelope.version).collect();
        assert_eq!(versions, expected, "{before:?} {limit}");
    }
    assert_eq!(store.last_of_stream(&stream).await.unwrap().unwrap().version, 5);
    assert_eq!(store.last_of_stream(&harness.new_stream()).await.unwrap(), None);
}
