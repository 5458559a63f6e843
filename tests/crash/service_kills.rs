//! The service is killed, frozen and restarted while clients write.

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

/// The client timeout: shorter than a freeze.
const TIMEOUT: Duration = Duration::from_millis(1200);
/// Writes acknowledged by every service between two kills.
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
    let mut crash_test =
        CrashTest::start(context.clone(), clients).watching_tokens(&mut rng).with_sessions(&mut rng);
    let (mut freezes, mut kills_at_startup, mut longest) = (0, 0, Duration::ZERO);
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
            kills_at_startup += 1;
        }
        // Recovery is done alternately by the command line and by the service.
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
        // No write succeeds while the only service is down.
        let since = if cluster.size() == 1 { started } else { killed };
        longest = longest.max(summary::longest_gap(&context.journal, None, since));
        cluster.assert_running();
    }
    crash_test.finish(test, &cluster).await;
    let (kills, longest) = (config.kills, longest.as_secs_f64());
    summary::print(&format!(
        "{test}: {kills} kills, {kills_at_startup} more during startup, {freezes} freezes; the longest without an acknowledged \
         write {longest:.1} s"
    ));
}

/// Freezes a service for longer than its clients wait.
async fn pause(cluster: &mut Cluster, context: &ClientContext, rng: &mut SeededRng) {
    // The transaction of a frozen service blocks the other service, which aborts it after some seconds: some
    // freezes are long enough for that.
    let longest = if cluster.size() > 1 && rng.one_in(2) { 6000 } else { 2000 };
    let time = rng.duration_between(TIMEOUT + Duration::from_millis(200), Duration::from_millis(longest));
    let victim = rng.below(cluster.size());
    cluster.service(victim).pause();
    sleep(time).await;
    cluster.service(victim).resume();
    cluster.assert_running();
    await_writes(context, 1, context.journal.now()).await;
}
