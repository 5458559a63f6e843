//! The server has forgotten the history that a change stream wants to resume from (error 286, `ChangeStreamHistoryLost`).
//! Whoever comes again with the same token meets the same error, forever and at full speed; whoever begins anew in the
//! present has missed what came between. (Meteor, NVSentinel; Emmett cannot reach back beyond the oplog at all.)

use std::time::Instant;

use mongodb::bson::{Document, doc};
use store::ExpectedVersion;
use store::conformance::harness::{TIMEOUT, append_writes};
use testkit::{FailPoint, FailPointMode, MongodServer};

use crate::support::{MongoFixture, Process};

const HISTORY_LOST: i32 = 286;
/// How often a stream may be asked for in a second, however it fails.
const MAX_ATTEMPTS_PER_SECOND: f64 = 15.0;

/// The client of the process under test that follows.
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

    /// The watcher hears of an append of the writer.
    async fn assert_append_is_seen(&self) {
        let harness = &self.mongo.harness;
        let write = harness.write(&harness.new_stream(), ExpectedVersion::NoStream);
        let done = append_writes(&self.writer.store, [write]).await.unwrap();
        let mut updates = self.watcher.store.watch_progress();
        let heard = updates.wait_for(|progress| progress.head >= done.position);
        tokio::time::timeout(TIMEOUT, heard).await.expect("the watcher has not heard").unwrap();
    }

    /// Commands fail in this way, over and over, and the watcher hears of everything; it does not spin.
    async fn assert_bounded_retries(&self, commands: &[&str], effect: Document) {
        let started = Instant::now();
        let data = fail_watcher_commands(commands, effect);
        let failing = FailPoint::command(&self.server, FailPointMode::Always, data).await;
        failing.wait_for_hits(2).await;
        for _ in 0..3 {
            self.assert_append_is_seen().await;
        }
        let (met, seconds) = (failing.clear().await, started.elapsed().as_secs_f64());
        let limit = MAX_ATTEMPTS_PER_SECOND * (seconds + 1.0);
        assert!(f64::from(i32::try_from(met).unwrap()) < limit, "{met} times in {seconds} s");
    }

    /// The change stream itself is open and tells: looking is made impossible meanwhile.
    async fn assert_change_stream_works(&self) {
        let pass = doc! { "blockConnection": true, "blockTimeMS": 0 };
        let asking = FailPoint::command(
            &self.server,
            FailPointMode::Always,
            fail_watcher_commands(&["getMore"], pass),
        )
        .await;
        asking.wait_for_hits(2).await;
        asking.clear().await;
        let blind = fail_watcher_commands(&["find"], doc! { "errorCode": 1 });
        let blind = FailPoint::command(&self.server, FailPointMode::Always, blind).await;
        blind.wait_for_hits(1).await;
        self.assert_append_is_seen().await;
        blind.clear().await;
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

/// The driver resumes such a stream by itself, without a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeatedly_broken_stream_resumes_with_backoff() {
    let scenario = WatchScenario::new().await;
    scenario.assert_bounded_retries(&["getMore"], doc! { "errorCode": 91 }).await;
    scenario.assert_bounded_retries(&["getMore"], doc! { "closeConnection": true }).await;
    scenario.assert_change_stream_works().await;
}
