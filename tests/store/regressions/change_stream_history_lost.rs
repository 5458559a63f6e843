//! The server no longer has the history from which a change stream resumes (error 286,
//! `ChangeStreamHistoryLost`). A client that retries with the same token gets the same error forever, in a
//! busy loop; a client that reopens the stream at the present misses the gap. (Meteor, NVSentinel; Emmett
//! cannot read beyond the oplog at all.)

use std::time::Instant;

use mongodb::bson::{Document, doc};
use store::ExpectedVersion;
use store::conformance::harness::{TIMEOUT, append_writes};
use testkit::{FailPoint, FailPointMode, MongodServer};

use crate::support::{MongoFixture, Process};

const HISTORY_LOST: i32 = 286;
/// Maximum number of attempts per second, however the stream fails.
const MAX_ATTEMPTS_PER_SECOND: f64 = 15.0;

/// Fail point data for the watching connections of the process under test.
fn fail_watcher_commands(commands: &[&str], effect: Document) -> Document {
    let mut data = doc! { "failCommands": commands, "appName": "watcher-watch" };
    data.extend(effect);
    data
}

struct WatchScenario {
    server: MongodServer,
    mongo: MongoFixture,
    writer: Process,
    watcher: Process,
}

impl WatchScenario {
    async fn new() -> Self {
        let server = MongodServer::replica_set().await;
        let mongo = MongoFixture::on(&server);
        let (writer, watcher) = (mongo.process("writer").await, mongo.process("watcher").await);
        Self { server, mongo, writer, watcher }
    }

    /// Asserts that the watcher is notified of an append of the writer.
    async fn assert_append_is_seen(&self) {
        let harness = &self.mongo.harness;
        let write = harness.write(&harness.new_stream(), ExpectedVersion::NoStream);
        let done = append_writes(&self.writer.store, [write]).await.unwrap();
        let mut updates = self.watcher.store.watch_progress();
        let heard = updates.wait_for(|progress| progress.head >= done.position);
        tokio::time::timeout(TIMEOUT, heard)
            .await
            .expect("the watcher was not notified within the timeout")
            .unwrap();
    }

    /// Asserts that the watcher is notified while its commands fail repeatedly, and that it does not retry in
    /// a busy loop.
    async fn assert_bounded_retries(&self, commands: &[&str], effect: Document) {
        let started = Instant::now();
        let data = fail_watcher_commands(commands, effect);
        let failing = FailPoint::command(&self.server, FailPointMode::Always, data).await;
        failing.wait_for_hits(2).await;
        for _ in 0..3 {
            self.assert_append_is_seen().await;
        }
        let (hits, seconds) = (failing.clear().await, started.elapsed().as_secs_f64());
        let limit = MAX_ATTEMPTS_PER_SECOND * (seconds + 1.0);
        assert!(f64::from(i32::try_from(hits).unwrap()) < limit, "{hits} attempts in {seconds} s");
    }

    /// Asserts that the change stream itself works: polling is made to fail meanwhile.
    async fn assert_change_stream_works(&self) {
        let pass = doc! { "blockConnection": true, "blockTimeMS": 0 };
        let get_more = FailPoint::command(
            &self.server,
            FailPointMode::Always,
            fail_watcher_commands(&["getMore"], pass),
        )
        .await;
        get_more.wait_for_hits(2).await;
        get_more.clear().await;
        let polling = fail_watcher_commands(&["find"], doc! { "errorCode": 1 });
        let polling = FailPoint::command(&self.server, FailPointMode::Always, polling).await;
        polling.wait_for_hits(1).await;
        self.assert_append_is_seen().await;
        polling.clear().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_history_reopens_the_stream_and_polls_the_gap() {
    let scenario = WatchScenario::new().await;
    scenario.assert_append_is_seen().await;
    for commands in [&["getMore"][..], &["getMore", "aggregate"]] {
        scenario.assert_bounded_retries(commands, doc! { "errorCode": HISTORY_LOST }).await;
        scenario.assert_change_stream_works().await;
    }
}

/// The driver resumes such a stream by itself, without a backoff.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeatedly_broken_stream_resumes_with_backoff() {
    let scenario = WatchScenario::new().await;
    scenario.assert_bounded_retries(&["getMore"], doc! { "errorCode": 91 }).await;
    scenario.assert_bounded_retries(&["getMore"], doc! { "closeConnection": true }).await;
    scenario.assert_change_stream_works().await;
}
