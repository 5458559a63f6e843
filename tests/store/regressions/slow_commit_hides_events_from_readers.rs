//! A writer gets its position in the log and then commits slowly. Another writer gets the next position and
//! commits first; readers advance past the gap and never see the event of the slow writer. (Marten,
//! Eventuous, NEventStore, Axon: the position is assigned before the commit, so positions are not in commit
//! order.)

use futures::future::join_all;
use mongodb::bson::{Document, doc};
use store::conformance::harness::{TIMEOUT, append_writes, read_after};
use store::{EventStore, ExpectedVersion, Position, StoredEvent};
use testkit::{FailPoint, FailPointMode, MongodServer};

use crate::support::{MongoFixture, assert_log_consistent};

/// Number of appends of the fast writer.
const FAST: usize = 6;

/// The commit is delayed: events and the new head are written but not visible.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_commit_keeps_its_position() {
    let delayed = doc! { "failCommands": ["commitTransaction"], "appName": "slow" };
    let positions = race("slow", "fast", delayed, 1_500).await;
    assert_eq!(positions[0], 1, "the slow writer locked the head first");
}

/// The writer stalls for so long that the other one kills its transaction, so it retries at a later position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_transaction_is_killed_and_retried() {
    let delayed = doc! { "failCommands": ["insert"], "appName": "aegis" };
    race("aegis", "aegis", delayed, 5_000).await;
}

/// Returns the positions of the slow writer, then of the fast one. A subscriber must see each event once and
/// in order.
async fn race(slow: &str, fast: &str, mut delayed: Document, milliseconds: i32) -> Vec<u64> {
    let server = MongodServer::replica_set().await;
    let mongo = MongoFixture::on(&server);
    let harness = &mongo.harness;
    let (slow, fast) = (mongo.process(slow).await.store, mongo.process(fast).await.store);
    let subscriber = mongo.process("subscriber").await.store;
    delayed.extend(doc! { "blockConnection": true, "blockTimeMS": milliseconds });
    let fail_point = FailPoint::command(&server, FailPointMode::Times(1), delayed).await;

    let write = || [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)];
    let writing = async {
        let appending = append_writes(&slow, write());
        let overtaking = async {
            fail_point.wait_for_hits(1).await;
            join_all((0..FAST).map(|_| append_writes(&fast, write()))).await
        };
        let (first, others) = tokio::join!(appending, overtaking);
        let done = std::iter::once(first).chain(others);
        done.map(|done| done.expect("every append succeeds").position.get()).collect::<Vec<_>>()
    };
    let both = async { tokio::join!(writing, read_until(&subscriber, FAST + 1)) };
    let (positions, seen) = tokio::time::timeout(TIMEOUT, both).await.unwrap();
    let mut sorted = positions.clone();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq((1..).take(FAST + 1)), "{positions:?}");
    assert_eq!(seen, assert_log_consistent(&fast).await, "the events that the subscriber has read");
    positions
}

/// Reads new events until there are `count`. The read itself fails on a gap.
async fn read_until(store: &EventStore, count: usize) -> Vec<StoredEvent> {
    let mut seen: Vec<StoredEvent> = Vec::new();
    while seen.len() < count {
        let last = seen.last().map_or(Position::START, |event| event.envelope.position);
        seen.extend(read_after(store, last).await);
        tokio::task::yield_now().await;
    }
    seen
}
