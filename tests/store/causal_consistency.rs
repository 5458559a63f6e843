//! What one process has seen is never missing afterwards, not even right after an election: a new primary may answer
//! majority reads, for a moment, with less than the old one had acknowledged, since it has the write but does not know
//! yet that a majority has it.
//!
//! That moment is made to last here, and a plain majority read shows each time that it is there.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use mongodb::{Client, Database};
use serde_json::json;
use store::conformance::harness::append_writes;
use store::{
    Column, ColumnKind, EventQuery, ExpectedVersion, Position, ProjectionCheckpoint, RowChange, StoreError,
    StreamId, Table, TableSchema,
};
use testkit::{FailPoint, FailPointMode, ReplicaSet};
use tokio::time::Instant;

use crate::support::{MongoFixture, Process, assert_log_consistent};

/// How many elections.
const ROUNDS: u64 = 8;
/// How often each thing is read after each of them.
const READS: u32 = 20;
/// How long an election and its aftermath may take on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(1);

static SCHEMA: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "label", kind: ColumnKind::Text },
    ],
    indexes: &[],
};

fn things() -> Table {
    Table::of("things", 1, &SCHEMA)
}

/// What was acknowledged in a round.
struct Acknowledged {
    stream: StreamId,
    position: Position,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_stay_causally_consistent_after_an_election() {
    let mut set = ReplicaSet::of(3).await;
    let mongo = MongoFixture::at(set.url());
    let (one, two) = (mongo.process("one").await, mongo.process("two").await);
    for process in [&one, &two] {
        process.rows().prepare(&things()).await.unwrap();
    }
    let (plain, mut at) = (PlainReader::new(&mongo).await, Position::START);
    for round in 0..ROUNDS {
        let primary = set.primary().await;
        plain.wait_for_full_replication().await;
        let mut unaware = Vec::new();
        for other in (0..3).filter(|member| *member != primary) {
            let member = &set.members()[other];
            unaware
                .push(FailPoint::named("disableSnapshotting", member, FailPointMode::Always, doc! {}).await);
        }
        let acknowledged = write(&mongo, &one, at).await;
        at = acknowledged.position;
        wait_until_seen(&two, &acknowledged).await;
        assert_eq!(set.step_down().await, primary);
        let control = async {
            plain.assert_reads_are_stale(at, round).await;
            for unaware in unaware {
                unaware.clear().await;
            }
        };
        tokio::join!(control, assert_seen(&one, &acknowledged), assert_seen(&two, &acknowledged));
    }
    assert_eq!(assert_log_consistent(&two.store).await.last().unwrap().envelope.position, at);
}

/// Somebody who reads from the primary what a majority has, and knows nothing of what others have seen.
struct PlainReader(Database);

impl PlainReader {
    async fn new(mongo: &MongoFixture) -> Self {
        Self(Client::with_uri_str(&mongo.url).await.unwrap().database(&mongo.database))
    }

    async fn wait_for_full_replication(&self) {
        let all = WriteConcern::builder().w(Acknowledgment::Nodes(3)).w_timeout(TIMEOUT).build();
        self.0.collection("plain").insert_one(doc! {}).write_concern(all).await.unwrap();
    }

    /// Waits until the new primary has answered a number of times, each time without that event.
    async fn assert_reads_are_stale(&self, acknowledged: Position, round: u64) {
        let events = self.0.collection::<Document>("events");
        let event = doc! { "_id": i64::try_from(acknowledged.get()).unwrap() };
        let (mut answers, started) = (0, Instant::now());
        while answers < READS {
            assert!(started.elapsed() < TIMEOUT, "round {round}: there is no new primary");
            let majority = events.find_one(event.clone()).read_concern(ReadConcern::majority());
            if let Ok(found) = majority.await {
                assert_eq!(found, None, "round {round}: a plain read is not old, so nothing is tried here");
                answers += 1;
            }
        }
    }
}

/// Appends, and writes a row of it, as a projector does.
async fn write(mongo: &MongoFixture, process: &Process, from: Position) -> Acknowledged {
    let stream = mongo.harness.new_stream();
    let position = append_writes(&process.store, [mongo.harness.write(&stream, ExpectedVersion::NoStream)])
        .await
        .unwrap()
        .position;
    let row = json!({"id": stream.as_str(), "label": "there"}).as_object().unwrap().clone();
    let change = RowChange { key: stream.as_str().to_owned(), row: Some(row), existed: false };
    let at = |position| ProjectionCheckpoint { position, ..ProjectionCheckpoint::default() };
    process.rows().apply(&things(), at(from), at(position), vec![change]).await.unwrap();
    Acknowledged { stream, position }
}

/// A process that has not written it itself hears of it.
async fn wait_until_seen(process: &Process, acknowledged: &Acknowledged) {
    let mut updates = process.store.watch_progress();
    let heard = updates.wait_for(|progress| progress.applied_position("things_1") >= acknowledged.position);
    tokio::time::timeout(TIMEOUT, heard).await.expect("it was not heard of").unwrap();
}

/// Reads everything again and again while there is an election.
async fn assert_seen(process: &Process, acknowledged: &Acknowledged) {
    let Acknowledged { stream, position } = acknowledged;
    let (store, rows, key) = (&process.store, process.rows(), [stream.as_str().to_owned()]);
    // All at once: a read that waits until all is well again would hide what the others are told meanwhile.
    tokio::join!(
        assert_never_stale("head", async || Ok(store.head().await?.position >= *position)),
        assert_never_stale("page", async || {
            let query = EventQuery { limit: 10, stream: Some(stream.clone()), ..EventQuery::default() };
            let page = store.page(&query).await?;
            Ok(page.next >= *position && page.events.len() == 1)
        }),
        assert_never_stale("stream", async || Ok(store.read_stream(stream).await?.len() == 1)),
        assert_never_stale("row", async || Ok(rows.rows(&things(), &key).await?.len() == 1)),
        assert_never_stale(
            "checkpoint",
            async || Ok(rows.checkpoint(&things()).await?.position >= *position)
        ),
    );
}

/// Reads until it has worked a number of times. It may fail meanwhile; it may not be older than what was acknowledged.
async fn assert_never_stale(what: &str, read: impl AsyncFn() -> Result<bool, StoreError>) {
    let (mut seen, started) = (0, Instant::now());
    while seen < READS {
        assert!(started.elapsed() < TIMEOUT, "the {what} cannot be read");
        match read().await {
            Ok(found) => {
                assert!(found, "the {what} is older than what was acknowledged");
                seen += 1;
            }
            Err(StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("the {what}: {error}"),
        }
    }
}
