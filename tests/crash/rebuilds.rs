//! A read model is made anew while people go on signing up and logging in; the service that does it is killed half-way and
//! goes on. A few thousand users by default; `AEGIS_TEST_USERS` says otherwise, and `AEGIS_TEST_EXECUTABLE` which build
//! of the service is tried.

use std::time::Duration;

use serde_json::Value;
use testkit::service::eventually_within;

use crate::background_load::{LoadResult, LoadUsers};
use crate::cluster::Cluster;
use crate::populated_database::{PopulatedDatabase, user_count};
use crate::summary;

/// How long projecting a million users may take on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(15);
/// Under the usual load.
const BASELINE_PERIOD: Duration = Duration::from_secs(5);
/// The most memory that the service may use, in KiB.
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
    let people = LoadUsers::sign_up(&context.services[0]).await;
    let load = people.load();
    tokio::time::sleep(BASELINE_PERIOD).await;
    let mut usual = load.stop().await;
    assert_no_failures(&usual);

    let load = people.load();
    let began = std::time::Instant::now();
    let told = cluster.command_line().run_ok(&["projections", "rebuild", "users"]).await;
    let took = began.elapsed();
    let mut seen = load.stop().await;
    assert_no_failures(&seen);
    let (answered, busy) = (seen.answered, seen.p99());
    assert!(told.stdout.contains("the same as before"), "{told:?}");
    cluster.verify_read_models().await;
    let memory = cluster.service(0).peak_rss_kib();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    summary::print(&format!(
        "rebuild, {test}: {} users in {:.1} s under load, {} requests, 0 failed; p99 of /users/me {:.1} ms, usually {:.1} ms; \
         most memory {} MiB; {}",
        user_count(),
        took.as_secs_f64(),
        answered,
        milliseconds(busy),
        milliseconds(usual.p99()),
        memory / 1024,
        told.stdout.lines().next().unwrap_or_default(),
    ));
    assert!(memory < MAX_MEMORY_KIB, "the service has used {memory} KiB");

    // Once more, killed half-way.
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
    summary::print(&format!("rebuild, {test}: killed at position {killed_at}, it went on from there"));
}

#[track_caller]
fn assert_no_failures(seen: &LoadResult) {
    let first = seen.failures.iter().take(5).collect::<Vec<_>>();
    assert!(seen.failures.is_empty(), "{} of {} failed: {first:?}", seen.failures.len(), seen.answered);
}

/// Waits until a version of `users` is as wanted.
async fn version(cluster: &Cluster, number: u64, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually_within(TIMEOUT, "a version of users", async || status(cluster, number).await.filter(&wanted))
        .await
}

async fn status(cluster: &Cluster, number: u64) -> Option<Value> {
    let users = cluster.users_status().await;
    let versions = users["versions"].as_array().unwrap();
    versions.iter().find(|version| version["version"] == number).cloned()
}
