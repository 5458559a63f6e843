//! The server has forgotten the history that a change stream wants to resume from (error 286, `ChangeStreamHistoryLost`).
//! Whoever comes again with the same token meets the same error, forever and at full speed; whoever begins anew in the
//! present has missed what came between. (Meteor, NVSentinel; Emmett cannot reach back beyond the oplog at all.)

use std::time::Instant;

use mongodb::bson::{Document, doc};
use store::Expected;
use store::conformance::world::{PATIENCE, put};
use testkit::{FailPoint, Failing, MongodServer};

use crate::support::{Mongo, Process};

const HISTORY_LOST: i32 = 286;
/// How often a stream may be asked for in a second, however it fails.
const CALM: f64 = 15.0;

/// The client of the process under test that follows.
fn of_the_watcher(commands: &[&str], effect: Document) -> Document {
    let mut data = doc! { "failCommands": commands, "appName": "watcher-watch" };
    data.extend(effect);
    data
}

struct Arena {
    server: MongodServer,
    mongo: Mongo,
    writer: Process,
    watcher: Process,
}

impl Arena {
    async fn new() -> Self {
        let server = MongodServer::replica_set().await;
        let mongo = Mongo::on(&server);
        let (writer, watcher) = (mongo.process("writer").await, mongo.process("watcher").await);
        Self { server, mongo, writer, watcher }
    }

    /// The watcher hears of an append of the writer.
    async fn assert_heard(&self) {
        let world = &self.mongo.world;
        let write = world.write(&world.stream(), Expected::NoStream);
        let done = put(&self.writer.store, [write]).await.unwrap();
        let mut signals = self.watcher.store.signals();
        let heard = signals.wait_for(|signal| signal.head >= done.position);
        tokio::time::timeout(PATIENCE, heard).await.expect("the watcher has not heard").unwrap();
    }

    /// Commands fail in this way, over and over, and the watcher hears of everything; it does not spin.
    async fn assert_calm(&self, commands: &[&str], effect: Document) {
        let started = Instant::now();
        let data = of_the_watcher(commands, effect);
        let failing = FailPoint::command(&self.server, Failing::Always, data).await;
        failing.met(2).await;
        for _ in 0..3 {
            self.assert_heard().await;
        }
        let (met, seconds) = (failing.clear().await, started.elapsed().as_secs_f64());
        let limit = CALM * (seconds + 1.0);
        assert!(f64::from(i32::try_from(met).unwrap()) < limit, "{met} times in {seconds} s");
    }

    /// The change stream itself is open and tells: looking is made impossible meanwhile.
    async fn assert_open(&self) {
        let pass = doc! { "blockConnection": true, "blockTimeMS": 0 };
        let asking =
            FailPoint::command(&self.server, Failing::Always, of_the_watcher(&["getMore"], pass)).await;
        asking.met(2).await;
        asking.clear().await;
        let blind = of_the_watcher(&["find"], doc! { "errorCode": 1 });
        let blind = FailPoint::command(&self.server, Failing::Always, blind).await;
        blind.met(1).await;
        self.assert_heard().await;
        blind.clear().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_history_is_lost_is_opened_anew_and_what_came_between_is_looked_up() {
    let arena = Arena::new().await;
    arena.assert_heard().await;
    for commands in [&["getMore"][..], &["getMore", "aggregate"]] {
        arena.assert_calm(commands, doc! { "errorCode": HISTORY_LOST }).await;
        arena.assert_open().await;
    }
}

/// The driver resumes such a stream by itself, without a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_over_and_over_is_resumed_calmly() {
    let arena = Arena::new().await;
    arena.assert_calm(&["getMore"], doc! { "errorCode": 91 }).await;
    arena.assert_calm(&["getMore"], doc! { "closeConnection": true }).await;
    arena.assert_open().await;
}
