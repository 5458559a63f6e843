//! A writer is given its place in the log and then takes long to commit. Another is given the next place and commits
//! first; readers move on past it, and never see what the slow one wrote. (Marten, Eventuous, NEventStore, Axon: the
//! position is given out before the commit, so that it is not the order of commits.)

use futures::future::join_all;
use mongodb::bson::{Document, doc};
use store::conformance::harness::{TIMEOUT, append_writes, read_after};
use store::{EventStore, ExpectedVersion, Position, StoredEvent};
use testkit::{FailPoint, FailPointMode, MongodServer};

use crate::support::{MongoFixture, assert_log_consistent};

/// How many appends the fast writer does meanwhile.
const FAST: usize = 6;

/// Its commit is held back: events and new head are written, and nobody sees them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_commit_keeps_its_position() {
    let held = doc! { "failCommands": ["commitTransaction"], "appName": "slow" };
    let positions = race("slow", "fast", held, 1_500).await;
    assert_eq!(positions[0], 1, "it was the first to write to the head");
}

/// It has its place, and then does not go on for so long that the other one ends its transaction. It begins anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_transaction_is_killed_and_retried() {
    let held = doc! { "failCommands": ["insert"], "appName": "aegis" };
    race("aegis", "aegis", held, 5_000).await;
}

/// The positions that the slow writer, then the fast one, was told; a follower has seen each event once and in order.
async fn race(slow: &str, fast: &str, mut held: Document, milliseconds: i32) -> Vec<u64> {
    let server = MongodServer::replica_set().await;
    let mongo = MongoFixture::on(&server);
    let harness = &mongo.harness;
    let (slow, fast) = (mongo.process(slow).await.store, mongo.process(fast).await.store);
    let follower = mongo.process("follower").await.store;
    held.extend(doc! { "blockConnection": true, "blockTimeMS": milliseconds });
    let fail_point = FailPoint::command(&server, FailPointMode::Times(1), held).await;

    let write = || [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)];
    let writing = async {
        let appending = append_writes(&slow, write());
        let overtaking = async {
            fail_point.wait_for_hits(1).await;
            join_all((0..FAST).map(|_| append_writes(&fast, write()))).await
        };
        let (first, others) = tokio::join!(appending, overtaking);
        let done = std::iter::once(first).chain(others);
        done.map(|done| done.expect("nobody fails").position.get()).collect::<Vec<_>>()
    };
    let both = async { tokio::join!(writing, follow(&follower, FAST + 1)) };
    let (positions, seen) = tokio::time::timeout(TIMEOUT, both).await.unwrap();
    let mut sorted = positions.clone();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq((1..).take(FAST + 1)), "{positions:?}");
    assert_eq!(seen, assert_log_consistent(&fast).await, "what the follower has seen");
    positions
}

/// Reads whatever is new until so many events have come. A position that is passed over is an error of the read.
async fn follow(store: &EventStore, count: usize) -> Vec<StoredEvent> {
    let mut seen: Vec<StoredEvent> = Vec::new();
    while seen.len() < count {
        let last = seen.last().map_or(Position::START, |event| event.envelope.position);
        seen.extend(read_after(store, last).await);
        tokio::task::yield_now().await;
    }
    seen
}
