//! Services and database servers whose clocks are wrong by an hour or ten years. The clock of a service reaches
//! neither the log nor a lease on MongoDB; an embedded database has no other clock, so its writes wait.

use std::time::Duration;

use jiff::Timestamp;
use store::Env;
use tempfile::TempDir;
use testkit::service::{Client, Deployment, Response, eventually, run_test_with_timeout};
use testkit::{MachineClock, MongodServer};
use tokio::time::sleep;

use crate::client_write::{self, PASSWORD};
use crate::clients::{ClientContext, Clients};
use crate::cluster::{Cluster, EXECUTABLE, await_writes};
use crate::crash_test::CrashTest;
use crate::summary;
use crate::test_config::TestConfig;

const HOUR: i64 = 3_600;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;
const TIMEOUT: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_with_wrong_clocks_stamp_events_and_share_leases_as_if_they_were_right() {
    run_test_with_timeout(TestConfig::timeout(4), wrong_services()).await;
}

async fn wrong_services() {
    let test = "MongoDB, services with wrong clocks";
    let mut rng = TestConfig::rng(test);
    let database = testkit::shared_mongodb().await.database();
    let clocks = [HOUR, -HOUR, TEN_YEARS].map(MachineClock::ahead_by);
    let mut cluster = Cluster::on_mongodb(4, database.url(), database.name());
    for (node, clock) in (1..).zip(&clocks) {
        cluster = cluster.with_clock(node, clock);
    }
    let begun = now();
    let context = cluster.start_all(TIMEOUT).await;
    // To a clock ten years ahead every token has expired, so that service only signs users up.
    let (far_ahead, services) =
        context.services.split_last().map(|(last, rest)| (last.clone(), rest.to_vec())).unwrap();
    let context = ClientContext { services, ..context };
    let clients = Clients::start(&context, &mut rng);
    let crash_test = CrashTest::start(context.clone(), clients).watching_tokens(&mut rng);
    for round in 0..4 {
        sign_up(&far_ahead, &format!("far{round}")).await.expect(201);
        await_writes(&context, 5, context.journal.now()).await;
        // Each in turn loses its lease, if it holds one.
        let node = (3 + round) % 4;
        cluster.kill(node);
        await_writes_of_others(&context, node).await;
        cluster.start(node).await;
    }
    let log = crash_test.finish(test, &cluster).await;
    let times: Vec<Timestamp> =
        log.events().iter().map(|event| event["time"].as_str().unwrap().parse().unwrap()).collect();
    let slack = Duration::from_secs(5);
    for time in [times.first().unwrap(), times.last().unwrap()] {
        assert!((begun - slack..=now() + slack).contains(time), "an event is stamped {time}");
    }
    summary::print(&format!("{test}: {} events, all stamped within the run", times.len()));
}

/// Waits for writes of the services that run.
async fn await_writes_of_others(context: &ClientContext, killed: usize) {
    let since = context.journal.now();
    eventually("writes while a service is down", async || {
        let written = context.journal.acknowledgements(since);
        written.iter().any(|(service, _)| *service != killed).then_some(())
    })
    .await;
}

/// A server whose clock is an hour ahead stamps events and leases, and dies; its successor is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_from_a_server_with_a_wrong_clock_holds_up_no_node() {
    run_test_with_timeout(TestConfig::timeout(1), wrong_server()).await;
}

async fn wrong_server() {
    let clock = MachineClock::ahead_by(HOUR);
    let mut server = MongodServer::replica_set().await;
    server.set_clock(&clock);
    server.restart().await;
    let mut cluster = Cluster::on_mongodb(1, &server.url(), "aegis");
    let context = cluster.start_all(TIMEOUT).await;
    sign_up(&context.services[0], "before").await.expect(201);
    cluster.kill(0);
    clock.set_ahead_by(0);
    server.restart().await;
    let service = cluster.command_line().serve_listening().await;
    let service = service.client();
    assert_signs_up_and_logs_in(service, "after").await;
    assert_eq!(readiness(service).await["clock"], "head_in_future");
}

/// The first life of a service has a clock an hour ahead, the second one the right clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_lease_from_a_wrong_clock_holds_up_no_service() {
    let (data, clock) = (TempDir::new().unwrap(), MachineClock::ahead_by(HOUR));
    let deployment = Deployment::embedded(EXECUTABLE, data.path()).with_clock(&clock);
    let service = deployment.serve().await;
    assert_signs_up_and_logs_in(service.client(), "before").await;
    service.kill();
    clock.set_ahead_by(0);
    let service = deployment.serve_listening().await;
    assert_signs_up_and_logs_in(service.client(), "after").await;
    assert_eq!(readiness(service.client()).await["clock"], "head_in_future");
    let verified = deployment.run(&["events", "verify"]).await;
    assert_eq!(verified.code, Some(3), "{verified:?}");
    assert!(verified.stderr.contains("[head_in_future]"), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_service_refuses_writes_while_its_clock_has_jumped() {
    let (data, clock) = (TempDir::new().unwrap(), MachineClock::ahead_by(-HOUR));
    let deployment = Deployment::embedded(EXECUTABLE, data.path()).with_clock(&clock);
    let mut service = deployment.serve().await;
    assert_signs_up_and_logs_in(service.client(), "before").await;
    clock.set_ahead_by(TEN_YEARS);
    assert_eq!(sign_up(service.client(), "during").await.code(503), "clock_jumped");
    assert_eq!(readiness(service.client()).await["clock"], "jumped");
    clock.set_ahead_by(-HOUR);
    assert_signs_up_and_logs_in(service.client(), "right").await;
    // A restart confirms the new time: this time it is the old one that was wrong.
    clock.set_ahead_by(0);
    assert_eq!(sign_up(service.client(), "again").await.code(503), "clock_jumped");
    assert!(service.terminate().await.success());
    let service = deployment.serve().await;
    assert_signs_up_and_logs_in(service.client(), "confirmed").await;
    deployment.run_ok(&["events", "verify"]).await;
}

async fn assert_signs_up_and_logs_in(service: &Client, name: &str) {
    eventually("a sign-up", async || (sign_up(service, name).await.status() == 201).then_some(())).await;
    eventually("the user to be projected", async || {
        (service.log_in(&format!("{name}@example.com"), PASSWORD).await.status() == 200).then_some(())
    })
    .await;
    // The projector goes on for longer than one lease.
    sleep(store::leader_election::LEASE_TERM * 2).await;
    let other = format!("{name}-2");
    sign_up(service, &other).await.expect(201);
    service.log_in(&format!("{other}@example.com"), PASSWORD).await.expect(200);
}

async fn sign_up(service: &Client, name: &str) -> Response {
    client_write::sign_up(service, name).timeout(TIMEOUT).send().await
}

async fn readiness(service: &Client) -> serde_json::Value {
    service.readiness().await.expect(503).json()
}

fn now() -> Timestamp {
    Env::system().now()
}
