//! A read model is rebuilt under load; the rebuilding service is killed half-way and resumes. A few thousand
//! users by default, `AEGIS_TEST_USERS` otherwise; `AEGIS_TEST_EXECUTABLE` selects the build of the service.

use std::time::Duration;

use serde_json::Value;
use testkit::service::eventually_within;

use crate::background_load::{LoadResult, LoadUsers};
use crate::cluster::Cluster;
use crate::populated_database::{PopulatedDatabase, user_count};
use crate::summary;

/// Limit for projecting a million users on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(15);
/// How long the load runs without a rebuild, for comparison.
const BASELINE_PERIOD: Duration = Duration::from_secs(5);
/// Memory limit of the service.
const MAX_MEMORY_KIB: u64 = 300 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_rebuild_resumes_after_load_and_a_kill() {
    let populated = PopulatedDatabase::on_mongodb(user_count()).await;
    rebuild("MongoDB", populated.cluster()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_rebuild_resumes_after_load_and_a_kill() {
    let populated = PopulatedDatabase::embedded(user_count()).await;
    rebuild("embedded", populated.cluster()).await;
}

async fn rebuild(test: &str, cluster: Cluster) {
    let mut cluster = cluster.with_timeout(TIMEOUT);
    let context = cluster.start_all(Duration::from_secs(10)).await;
    version(&cluster, 1, |version| version["lag"] == 0).await;
    let users = LoadUsers::sign_up(&context.services[0]).await;
    let load = users.load();
    tokio::time::sleep(BASELINE_PERIOD).await;
    let mut baseline = load.stop().await;
    assert_no_failures(&baseline);

    let load = users.load();
    let began = std::time::Instant::now();
    let output = cluster.command_line().run_ok(&["projections", "rebuild", "users"]).await;
    let took = began.elapsed();
    let mut seen = load.stop().await;
    assert_no_failures(&seen);
    let (answered, busy) = (seen.answered, seen.p99());
    assert!(output.stdout.contains("the same as before"), "{output:?}");
    cluster.verify_read_models().await;
    let memory = cluster.service(0).peak_rss_kib();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    summary::print(&format!(
        "rebuild, {test}: {} users in {:.1} s under load, {} requests, 0 failed; p99 of /users/me {:.1} ms, \
         without a rebuild {:.1} ms; \
         peak memory {} MiB; {}",
        user_count(),
        took.as_secs_f64(),
        answered,
        milliseconds(busy),
        milliseconds(baseline.p99()),
        memory / 1024,
        output.stdout.lines().next().unwrap_or_default(),
    ));
    assert!(memory < MAX_MEMORY_KIB, "the service used {memory} KiB");

    // Again, killed half-way.
    let command = cluster.command_line().start(&["projections", "rebuild", "users"]);
    let half = user_count() / 2;
    let seen = version(&cluster, 3, |version| version["position"].as_u64() > Some(half)).await;
    command.kill();
    cluster.kill(0);
    let killed_at = seen["position"].as_u64().unwrap();
    let left = status(&cluster, 3).await.unwrap();
    assert!(left["position"].as_u64() >= Some(killed_at), "{left} after {seen}");
    cluster.start(0).await;
    let live = version(&cluster, 3, |version| version["role"] == "live" && version["lag"] == 0).await;
    assert_eq!(live["differed"], false, "{live}");
    cluster.verify_read_models().await;
    summary::print(&format!("rebuild, {test}: killed at position {killed_at}, resumed from there"));
}

#[track_caller]
fn assert_no_failures(seen: &LoadResult) {
    let first = seen.failures.iter().take(5).collect::<Vec<_>>();
    assert!(seen.failures.is_empty(), "{} of {} failed: {first:?}", seen.failures.len(), seen.answered);
}

/// Waits until a version of `users` satisfies the condition.
async fn version(cluster: &Cluster, number: u64, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually_within(TIMEOUT, "the version of users to satisfy the condition", async || {
        status(cluster, number).await.filter(&wanted)
    })
    .await
}

async fn status(cluster: &Cluster, number: u64) -> Option<Value> {
    let users = cluster.users_status().await;
    let versions = users["versions"].as_array().unwrap();
    versions.iter().find(|version| version["version"] == number).cloned()
}
