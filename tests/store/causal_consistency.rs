//! Causal consistency (monotonic reads and read-your-writes) across elections. A new primary may, for a
//! moment, answer majority reads with less than the old primary had acknowledged: it has the write but does
//! not know yet that a majority has it.
//!
//! A fail point extends that moment, and a plain majority read proves each time that the stale state is
//! there.

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

/// Number of elections.
const ROUNDS: u64 = 8;
/// Number of reads of each kind after each election.
const READS: u32 = 20;
/// Timeout of an election, generous enough for a slow machine.
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

/// The acknowledged write of a round.
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
        let mut fail_points = Vec::new();
        for other in (0..3).filter(|member| *member != primary) {
            let member = &set.members()[other];
            fail_points
                .push(FailPoint::named("disableSnapshotting", member, FailPointMode::Always, doc! {}).await);
        }
        let acknowledged = write(&mongo, &one, at).await;
        at = acknowledged.position;
        wait_until_seen(&two, &acknowledged).await;
        assert_eq!(set.step_down().await, primary);
        let control = async {
            plain.assert_reads_are_stale(at, round).await;
            for fail_point in fail_points {
                fail_point.clear().await;
            }
        };
        tokio::join!(control, assert_seen(&one, &acknowledged), assert_seen(&two, &acknowledged));
    }
    assert_eq!(assert_log_consistent(&two.store).await.last().unwrap().envelope.position, at);
}

/// A primary freezes with a read in flight, and answers it when it wakes, not knowing that it was deposed. The answer
/// lacks what the new primary has acknowledged, and no confirmation covers it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_of_a_deposed_primary_has_no_valid_confirmation() {
    const FREEZES: usize = 3;
    let mut set = ReplicaSet::of(3).await;
    let mongo = MongoFixture::at(set.url());
    let (one, two) = (mongo.process("one").await, mongo.process("two").await);
    one.rows().prepare(&things()).await.unwrap();
    let (mut at, mut outdated) = (Position::START, 0);
    for _ in 0..FREEZES {
        let primary = set.wait_until_healthy().await;
        at = write(&mongo, &one, at).await.position;
        let confirmation = one.store.confirm_head().await.unwrap();
        set.members()[primary].pause();
        let rows = one.handle.rows.clone();
        let reading = tokio::spawn(async move { rows.find(&things(), "label", "there").await });
        set.wait_for_new_primary(primary).await;
        let begun = Instant::now();
        let acknowledged = loop {
            let write = mongo.harness.write(&mongo.harness.new_stream(), ExpectedVersion::NoStream);
            match append_writes(&two.store, [write]).await {
                Ok(appended) => break appended.position,
                Err(error) => assert!(begun.elapsed() < TIMEOUT, "{error}"),
            }
        };
        set.members()[primary].resume();
        if let Ok(page) = reading.await.unwrap()
            && page.head < acknowledged
        {
            outdated += 1;
            assert!(
                !one.store.is_confirmed(confirmation),
                "an answer from {} counts at {acknowledged}",
                page.head
            );
        }
        assert!(one.store.head().await.is_ok_and(|head| head.position >= acknowledged));
        one.store.confirm_head().await.unwrap();
    }
    assert!(outdated > 0, "no deposed primary has answered, so the test proves nothing");
}

/// A client with plain majority reads, without a causal token.
struct PlainReader(Database);

impl PlainReader {
    async fn new(mongo: &MongoFixture) -> Self {
        Self(Client::with_uri_str(&mongo.url).await.unwrap().database(&mongo.database))
    }

    async fn wait_for_full_replication(&self) {
        let all = WriteConcern::builder().w(Acknowledgment::Nodes(3)).w_timeout(TIMEOUT).build();
        self.0.collection("plain").insert_one(doc! {}).write_concern(all).await.unwrap();
    }

    /// Waits for a number of answers of the new primary, none of which contains the event.
    async fn assert_reads_are_stale(&self, acknowledged: Position, round: u64) {
        let events = self.0.collection::<Document>("events");
        let event = doc! { "_id": i64::try_from(acknowledged.get()).unwrap() };
        let (mut answers, started) = (0, Instant::now());
        while answers < READS {
            assert!(started.elapsed() < TIMEOUT, "round {round}: no new primary within the timeout");
            let majority = events.find_one(event.clone()).read_concern(ReadConcern::majority());
            if let Ok(found) = majority.await {
                assert_eq!(
                    found, None,
                    "round {round}: a plain read is not stale, so the test proves nothing"
                );
                answers += 1;
            }
        }
    }
}

/// Appends an event and writes its row, like a projector.
async fn write(mongo: &MongoFixture, process: &Process, from: Position) -> Acknowledged {
    let stream = mongo.harness.new_stream();
    let position = append_writes(&process.store, [mongo.harness.write(&stream, ExpectedVersion::NoStream)])
        .await
        .unwrap()
        .position;
    let row = json!({"id": stream.as_str(), "label": "there"}).as_object().unwrap().clone();
    let change = RowChange { key: stream.as_str().to_owned(), row: Some(row), digest: None, existed: false };
    let at = |position| ProjectionCheckpoint { position, ..ProjectionCheckpoint::default() };
    process.rows().apply(&things(), at(from), at(position), vec![change]).await.unwrap();
    Acknowledged { stream, position }
}

/// Waits until a process is notified of the write of another one.
async fn wait_until_seen(process: &Process, acknowledged: &Acknowledged) {
    let mut updates = process.store.watch_progress();
    let heard = updates.wait_for(|progress| progress.applied_position("things_1") >= acknowledged.position);
    tokio::time::timeout(TIMEOUT, heard)
        .await
        .expect("the write was not notified within the timeout")
        .unwrap();
}

/// Reads everything repeatedly during an election.
async fn assert_seen(process: &Process, acknowledged: &Acknowledged) {
    let Acknowledged { stream, position } = acknowledged;
    let (store, rows, key) = (&process.store, process.rows(), [stream.as_str().to_owned()]);
    // Concurrently: a read that blocks until the election is over must not hide stale answers of the others.
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

/// Reads until a number of reads succeed. Reads may fail, but must not be older than the acknowledged write.
async fn assert_never_stale(what: &str, read: impl AsyncFn() -> Result<bool, StoreError>) {
    let (mut seen, started) = (0, Instant::now());
    while seen < READS {
        assert!(started.elapsed() < TIMEOUT, "reading the {what} timed out");
        match read().await {
            Ok(found) => {
                assert!(found, "the {what} is stale");
                seen += 1;
            }
            Err(StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("the {what}: {error}"),
        }
    }
}
