//! Deliveries: cursor and attempts are written atomically, by compare-and-set on the revision.

use futures::future::{join, join_all};
use serde_json::{Value, json};

use super::harness::{Harness, append_writes};
use crate::append::{ExpectedVersion, StreamWrite};
use crate::deliveries::{DeliveryProgress, DeliveryRecord, MAX_STORED_ATTEMPTS};
use crate::error::WriteError;
use crate::event::StreamId;

fn stream(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

fn progress(revision: u64, attempts: u64) -> DeliveryProgress {
    DeliveryProgress { revision, attempts, state: json!({"position": attempts, "odd": "$set . \u{1F980}"}) }
}

fn reports(numbers: std::ops::RangeInclusive<u64>) -> Vec<Value> {
    numbers.map(|number| json!({"attempt": number})).collect()
}

fn assert_conflict(result: &Result<(), WriteError>, why: &str) {
    assert!(matches!(result, Err(WriteError::Conflict)), "{why}: {result:?}");
}

/// Cursor and attempts are read back per webhook, also in another process; stale writers change nothing;
/// deleted state does not come back.
pub async fn progress_and_attempts_are_written_atomically(harness: &Harness) {
    let (one, other) = (harness.open_migrated().await.deliveries, harness.open_migrated().await.deliveries);
    let (mine, near) = (stream("webhook-1"), stream("webhook-11"));
    assert_eq!(one.progress(&mine).await.unwrap(), None);
    assert_conflict(
        &one.record(&mine, &progress(2, 1), &reports(1..=1)).await,
        "there is no previous revision",
    );
    one.record(&mine, &progress(1, 2), &reports(1..=2)).await.unwrap();
    one.record(&near, &progress(1, 1), &reports(1..=1)).await.unwrap();
    other.record(&mine, &progress(2, 3), &reports(3..=3)).await.unwrap();
    assert_conflict(&one.record(&mine, &progress(2, 9), &reports(3..=9)).await, "the revision is stale");
    assert_eq!(one.progress(&mine).await.unwrap(), Some(progress(2, 3)));
    let numbers = async |below, limit| {
        let attempts = other.attempts(&mine, below, limit).await.unwrap();
        for attempt in &attempts {
            assert_eq!(attempt.report, json!({"attempt": attempt.number}));
        }
        attempts.into_iter().map(|attempt| attempt.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, 10).await, [3, 2, 1], "newest first");
    assert_eq!(numbers(Some(3), 1).await, [2]);
    one.forget(&mine).await.unwrap();
    one.forget(&mine).await.unwrap();
    assert_eq!(numbers(None, 10).await, [0; 0]);
    assert_eq!(other.progress(&mine).await.unwrap(), None);
    assert_conflict(
        &other.record(&mine, &progress(3, 4), &reports(4..=4)).await,
        "a deleted cursor is not recreated",
    );
    assert_eq!(other.progress(&near).await.unwrap(), Some(progress(1, 1)));
    assert_eq!(other.attempts(&near, None, 10).await.unwrap().len(), 1);
}

/// Cursors of several webhooks are written in one call; one that has been overtaken does not stop the others.
pub async fn cursors_of_several_webhooks_are_written_together(harness: &Harness) {
    let deliveries = harness.open_migrated().await.deliveries;
    deliveries.record(&stream("webhook-2"), &progress(1, 1), &reports(1..=1)).await.unwrap();
    let record = |name: &str, revision, numbers: std::ops::RangeInclusive<u64>| DeliveryRecord {
        stream: stream(name),
        to: progress(revision, *numbers.end()),
        reports: reports(numbers),
    };
    let idle = DeliveryRecord { reports: Vec::new(), ..record("webhook-4", 1, 1..=9) };
    let records =
        [record("webhook-1", 1, 1..=2), record("webhook-2", 1, 1..=5), record("webhook-3", 1, 1..=3), idle];
    assert_eq!(deliveries.record_all(&records).await.unwrap(), [true, false, true, true]);
    for (name, attempts) in [("webhook-1", 2), ("webhook-2", 1), ("webhook-3", 3), ("webhook-4", 0)] {
        let stored = deliveries.attempts(&stream(name), None, 10).await.unwrap();
        assert_eq!(stored.len(), attempts, "{name}");
    }
    assert_eq!(deliveries.progress(&stream("webhook-4")).await.unwrap(), Some(progress(1, 9)));
    let next = [record("webhook-2", 2, 2..=3), record("webhook-3", 2, 4..=4)];
    assert_eq!(deliveries.record_all(&next).await.unwrap(), [true, true]);
    assert_eq!(deliveries.attempts(&stream("webhook-2"), None, 10).await.unwrap().len(), 3);
    assert_eq!(deliveries.record_all(&[]).await.unwrap(), [false; 0]);
}

/// Of concurrent delivery workers one writes each revision.
pub async fn concurrent_recorders_one_wins(harness: &Harness) {
    let handles = [harness.open_migrated().await.deliveries, harness.open_migrated().await.deliveries];
    let mine = stream("webhook-1");
    for revision in 1..=3 {
        let racers = (0..6).map(|number| {
            let (deliveries, mine) = (handles[number % 2].clone(), mine.clone());
            async move {
                deliveries.record(&mine, &progress(revision, revision), &reports(revision..=revision)).await
            }
        });
        let (won, lost): (Vec<_>, Vec<_>) = join_all(racers).await.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "revision {revision}");
        for result in &lost {
            assert_conflict(result, "another worker wrote the revision");
        }
    }
    assert_eq!(handles[0].attempts(&mine, None, 10).await.unwrap().len(), 3);
}

/// Old attempts are deleted when new ones are recorded.
pub async fn attempt_history_is_bounded(harness: &Harness) {
    let deliveries = harness.open_migrated().await.deliveries;
    let mine = stream("webhook-1");
    deliveries
        .record(&mine, &progress(1, MAX_STORED_ATTEMPTS), &reports(1..=MAX_STORED_ATTEMPTS))
        .await
        .unwrap();
    let more = reports(MAX_STORED_ATTEMPTS + 1..=MAX_STORED_ATTEMPTS + 7);
    deliveries.record(&mine, &progress(2, MAX_STORED_ATTEMPTS + 7), &more).await.unwrap();
    let stored = deliveries.attempts(&mine, None, usize::MAX).await.unwrap();
    let (newest, oldest) = (stored[0].number, stored[stored.len() - 1].number);
    assert_eq!((stored.len(), newest, oldest), (1_000, MAX_STORED_ATTEMPTS + 7, 8));
}

/// After a cursor was lost, delivery begins again, and so do the numbers of the attempts: the new ones replace
/// those that remain.
pub async fn repeated_attempt_numbers_replace_earlier_attempts(harness: &Harness) {
    let (deliveries, mine) = (harness.open_migrated().await.deliveries, stream("webhook-1"));
    deliveries.record(&mine, &progress(1, 5), &reports(1..=5)).await.unwrap();
    let again = [json!("again 1"), json!("again 2")];
    // A write without attempts comes first, as of a cursor that has only skipped events.
    deliveries.record(&mine, &progress(2, 0), &[]).await.unwrap();
    deliveries.record(&mine, &progress(3, 2), &again).await.unwrap();
    deliveries.record(&mine, &progress(4, 3), &[json!("again 3")]).await.unwrap();
    let attempts = deliveries.attempts(&mine, None, 10).await.unwrap();
    let shown: Vec<_> = attempts.iter().map(|attempt| (attempt.number, &attempt.report)).collect();
    assert_eq!(shown, [(3, &json!("again 3")), (2, &again[1]), (1, &again[0])]);
}

/// The commit that erases a stream deletes its cursor and attempts, and neither comes back: not even a first
/// cursor that is written at the same time.
pub async fn erasure_deletes_cursor_and_attempts(harness: &Harness) {
    let (handle, other) = (harness.open_migrated().await, harness.open_migrated().await);
    let store = harness.store_on(&handle).await;
    let (mine, near) = (stream("webhook-1"), stream("webhook-11"));
    for name in [&mine, &near] {
        append_writes(&store, [harness.write(name, ExpectedVersion::NoStream)]).await.unwrap();
        handle.deliveries.record(name, &progress(1, 3), &reports(1..=3)).await.unwrap();
    }
    let erase = |name: &StreamId| StreamWrite {
        erase: true,
        ..StreamWrite::new(name.clone(), ExpectedVersion::Exactly(1), vec![harness.plain_event()])
    };
    append_writes(&store, [erase(&mine)]).await.unwrap();
    for deliveries in [&handle.deliveries, &other.deliveries] {
        assert_eq!(deliveries.progress(&mine).await.unwrap(), None);
        assert_eq!(deliveries.attempts(&mine, None, 10).await.unwrap(), []);
        for revision in [1, 2] {
            let late = deliveries.record(&mine, &progress(revision, 1), &reports(1..=1)).await;
            assert_conflict(&late, "the stream was erased");
        }
    }
    assert_eq!(handle.deliveries.attempts(&near, None, 10).await.unwrap().len(), 3);
    for number in 0..20 {
        let name = stream(&format!("webhook-2{number}"));
        append_writes(&store, [harness.write(&name, ExpectedVersion::NoStream)]).await.unwrap();
        let (first, reports) = (progress(1, 1), reports(1..=1));
        let (recorded, erased) =
            join(other.deliveries.record(&name, &first, &reports), append_writes(&store, [erase(&name)]))
                .await;
        erased.unwrap();
        assert!(matches!(recorded, Ok(()) | Err(WriteError::Conflict)), "{recorded:?}");
        assert_eq!(handle.deliveries.progress(&name).await.unwrap(), None, "{recorded:?}");
        assert_eq!(handle.deliveries.attempts(&name, None, 10).await.unwrap(), [], "{recorded:?}");
    }
}
