//! A read model is made anew while people go on signing up and logging in; the service that does it is killed half-way and
//! goes on. A few thousand users by default; `AEGIS_TEST_USERS` says otherwise, and `AEGIS_TEST_EXECUTABLE` which build
//! of the service is tried.

use std::time::Duration;

use serde_json::Value;
use testkit::service::until_within;

use crate::fleet::Fleet;
use crate::load::{People, Seen};
use crate::population::{Town, users};
use crate::summary;

/// How long projecting a million users may take on a slow machine.
const PATIENCE: Duration = Duration::from_mins(15);
/// Under the usual load.
const USUAL: Duration = Duration::from_secs(5);
/// The most memory that the service may use, in KiB.
const MEMORY: u64 = 300 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mongodb_a_rebuild_goes_on_through_load_and_a_kill() {
    let town = Town::on_mongodb(users()).await;
    rebuild("MongoDB", town.fleet()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_embedded_database_a_rebuild_goes_on_through_load_and_a_kill() {
    let town = Town::embedded(users()).await;
    rebuild("embedded", town.fleet()).await;
}

async fn rebuild(test: &str, fleet: Fleet) {
    let mut fleet = fleet.patient(PATIENCE);
    let desk = fleet.open(Duration::from_secs(10)).await;
    version(&fleet, 1, |version| version["lag"] == 0).await;
    let people = People::sign_up(&desk.services[0]).await;
    let load = people.load();
    tokio::time::sleep(USUAL).await;
    let mut usual = load.stop().await;
    assert_failures(&usual);

    let load = people.load();
    let began = std::time::Instant::now();
    let told = fleet.command_line().done(&["projections", "rebuild", "users"]).await;
    let took = began.elapsed();
    let mut seen = load.stop().await;
    assert_failures(&seen);
    let (answered, busy) = (seen.answered, seen.p99());
    assert!(told.stdout.contains("the same as before"), "{told:?}");
    fleet.verify_read_models().await;
    let memory = fleet.service(0).peak_memory();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    summary::say(&format!(
        "rebuild, {test}: {} users in {:.1} s under load, {} requests, 0 failed; p99 of /users/me {:.1} ms, usually {:.1} ms; \
         most memory {} MiB; {}",
        users(),
        took.as_secs_f64(),
        answered,
        milliseconds(busy),
        milliseconds(usual.p99()),
        memory / 1024,
        told.stdout.lines().next().unwrap_or_default(),
    ));
    assert!(memory < MEMORY, "the service has used {memory} KiB");

    // Once more, killed half-way.
    let command = fleet.command_line().start(&["projections", "rebuild", "users"]);
    let half = users() / 2;
    let seen = version(&fleet, 3, |version| version["position"].as_u64() > Some(half)).await;
    command.kill();
    fleet.kill(0);
    let killed_at = seen["position"].as_u64().unwrap();
    let left = status(&fleet, 3).await.unwrap();
    assert!(left["position"].as_u64() >= Some(killed_at), "{left} after {seen}");
    fleet.start(0).await;
    let live = version(&fleet, 3, |version| version["role"] == "live" && version["lag"] == 0).await;
    assert_eq!(live["differed"], false, "{live}");
    fleet.verify_read_models().await;
    summary::say(&format!("rebuild, {test}: killed at position {killed_at}, it went on from there"));
}

#[track_caller]
fn assert_failures(seen: &Seen) {
    let first = seen.failures.iter().take(5).collect::<Vec<_>>();
    assert!(seen.failures.is_empty(), "{} of {} failed: {first:?}", seen.failures.len(), seen.answered);
}

/// Waits until a version of `users` is as wanted.
async fn version(fleet: &Fleet, number: u64, wanted: impl Fn(&Value) -> bool) -> Value {
    until_within(PATIENCE, "a version of users", async || status(fleet, number).await.filter(&wanted)).await
}

async fn status(fleet: &Fleet, number: u64) -> Option<Value> {
    let users = fleet.users_status().await;
    let versions = users["versions"].as_array().unwrap();
    versions.iter().find(|version| version["version"] == number).cloned()
}
