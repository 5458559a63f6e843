//! The service is killed, frozen and started again, and all the while clients write.

use std::time::Duration;

use tempfile::TempDir;
use testkit::service::run_test_with_timeout;
use tokio::time::sleep;

use crate::clients::{ClientContext, Clients};
use crate::cluster::{Cluster, await_writes};
use crate::crash_test::CrashTest;
use crate::seeded_rng::SeededRng;
use crate::summary;
use crate::test_config::TestConfig;

/// How long a client waits for an answer: less than a service is frozen.
const TIMEOUT: Duration = Duration::from_millis(1200);
/// What every service has acknowledged between two kills.
const WRITES_BETWEEN_FAILURES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_service_loses_nothing_when_killed_or_frozen() {
    let data = TempDir::new().unwrap();
    survives_kills("embedded, one service", Cluster::embedded(data.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_service_loses_nothing_when_killed_or_frozen() {
    let database = testkit::shared_mongodb().await.database();
    survives_kills("MongoDB, one service", Cluster::on_mongodb(1, database.url(), database.name())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_mongodb_services_lose_nothing_when_killed_or_frozen() {
    let database = testkit::shared_mongodb().await.database();
    survives_kills("MongoDB, two services", Cluster::on_mongodb(2, database.url(), database.name())).await;
}

async fn survives_kills(test: &str, cluster: Cluster) {
    let config = TestConfig::from_env();
    let rng = TestConfig::rng(test);
    run_test_with_timeout(TestConfig::timeout(config.kills), run_rounds(test, config, rng, cluster)).await;
}

async fn run_rounds(test: &str, config: TestConfig, mut rng: SeededRng, mut cluster: Cluster) {
    let context = cluster.start_all(TIMEOUT).await;
    let clients = Clients::start(&context, &mut rng);
    let mut crash_test = CrashTest::start(context.clone(), clients);
    let (mut freezes, mut in_vain, mut longest) = (0, 0, Duration::ZERO);
    for round in 1..=config.kills {
        await_writes(&context, WRITES_BETWEEN_FAILURES, context.journal.now()).await;
        if round % 3 == 2 {
            pause(&mut cluster, &context, &mut rng).await;
            freezes += 1;
        }
        sleep(rng.duration_between(Duration::ZERO, Duration::from_millis(200))).await;
        let killed = context.journal.now();
        let victim = rng.below(cluster.size());
        cluster.kill(victim);
        if round % 3 == 0 {
            let moment = rng.duration_between(Duration::from_millis(5), Duration::from_millis(400));
            cluster.start_and_kill(victim, moment).await;
            in_vain += 1;
        }
        // The first to open what a crash has left behind is once the command line, once the service.
        let early = round % 2 == 1;
        if early {
            crash_test.check(&cluster).await;
        }
        let started = context.journal.now();
        cluster.start(victim).await;
        if !early {
            crash_test.check(&cluster).await;
        }
        await_writes(&context, 1, started).await;
        // Nobody can write while the only service is down.
        let since = if cluster.size() == 1 { started } else { killed };
        longest = longest.max(summary::longest_gap(&context.journal, None, since));
        cluster.assert_running();
    }
    crash_test.finish(test, &cluster).await;
    let (kills, longest) = (config.kills, longest.as_secs_f64());
    summary::print(&format!(
        "{test}: {kills} kills, {in_vain} more while it started, {freezes} freezes; the longest without an acknowledged \
         write {longest:.1} s"
    ));
}

/// Lets a service stand still for longer than its clients wait.
async fn pause(cluster: &mut Cluster, context: &ClientContext, rng: &mut SeededRng) {
    // With two services the transaction of the frozen one is in the way of the other, until that ends it after some
    // seconds: sometimes there is time for it.
    let longest = if cluster.size() > 1 && rng.one_in(2) { 6000 } else { 2000 };
    let time = rng.duration_between(TIMEOUT + Duration::from_millis(200), Duration::from_millis(longest));
    let victim = rng.below(cluster.size());
    cluster.service(victim).pause();
    sleep(time).await;
    cluster.service(victim).resume();
    cluster.assert_running();
    await_writes(context, 1, context.journal.now()).await;
}
