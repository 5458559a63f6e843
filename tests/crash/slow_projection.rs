//! Read models that are seconds behind the log and move on, and a node that sleeps through a rebuild: no node
//! answers from rows that lack something.

use std::time::{Duration, Instant};

use mongodb::bson::doc;
use serde_json::{Value, json};
use testkit::service::{Client, eventually, run_test_with_timeout};
use testkit::{FailPoint, FailPointMode, MongodServer};
use tokio::time::sleep;

use crate::client_write::sign_up;
use crate::clients::Clients;
use crate::cluster::{ADMIN_EMAIL, Cluster, await_writes};
use crate::crash_test::CrashTest;
use crate::summary;
use crate::test_config::TestConfig;

/// The client timeout.
const TIMEOUT: Duration = Duration::from_secs(12);
/// How long the database takes for the rows of one batch. The lag is up to twice as long: one batch is written
/// while the next one is waiting.
const TIME_PER_BATCH: Duration = Duration::from_millis(2_500);
/// How long it takes so long.
const SLOW_PERIOD: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_projection_never_lets_a_revoked_token_pass() {
    run_test_with_timeout(TestConfig::timeout(1), slow_projection()).await;
}

async fn slow_projection() {
    let test = "MongoDB, two services, slow projection";
    let mut rng = TestConfig::rng(test);
    let server = MongodServer::replica_set().await;
    let mut cluster = Cluster::on_mongodb(2, &server.url(), "aegis");
    let context = cluster.start_all(TIMEOUT).await;
    let clients = Clients::start(&context, &mut rng);
    let crash_test =
        CrashTest::start(context.clone(), clients).watching_tokens(&mut rng).with_sessions(&mut rng);
    await_writes(&context, 1, Duration::ZERO).await;
    let slow = doc! {
        "failCommands": ["insert", "update"],
        "namespace": "aegis.users_1",
        "blockConnection": true,
        "blockTimeMS": i64::try_from(TIME_PER_BATCH.as_millis()).unwrap(),
    };
    let fail_point = FailPoint::command(&server, FailPointMode::Always, slow).await;
    let begun = Instant::now();
    let mut unready = 0;
    while begun.elapsed() < SLOW_PERIOD {
        sleep(Duration::from_millis(500)).await;
        unready += usize::from(context.services[0].readiness().await.status() == 503);
    }
    let batches = fail_point.clear().await;
    assert!(batches > 2, "the projection was not slow: {batches} batches");
    summary::print(&format!("{test}: {batches} slow batches, {unready} answers that a service is not ready"));
    eventually("everything to be projected", async || {
        (context.services[0].readiness().await.status() == 200).then_some(())
    })
    .await;
    crash_test.finish(test, &cluster).await;
    cluster.verify_read_models().await;
}

/// The users of the log that the second test begins with.
const USERS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_sleeps_through_a_rebuild_answers_from_no_removed_table() {
    run_test_with_timeout(TestConfig::timeout(1), frozen_node()).await;
}

async fn frozen_node() {
    let database = testkit::shared_mongodb().await.database();
    let mut cluster = Cluster::on_mongodb(2, database.url(), database.name());
    let context = cluster.start_all(TIMEOUT).await;
    for number in 0..USERS {
        sign_up(&context.services[0], &format!("u{number}")).send().await.expect(201);
    }
    let hook = json!({ "url": "http://127.0.0.1:9/" });
    context.services[0].post("/webhooks").bearer(&context.token).json(&hook).send().await.expect(201);
    let expected = Answers::of(&context.services[1], &context.token).await;
    assert_eq!(expected.registered, USERS + 1, "the administrator and the users");
    cluster.service(1).pause();
    for (name, old) in [("daily", "1"), ("users", "1"), ("webhooks", "1")] {
        let command = cluster.command_line();
        eventually("the rebuild, after the lease of the frozen node has expired", async || {
            (command.run(&["projections", "rebuild", name]).await.code == Some(0)).then_some(())
        })
        .await;
        command.run_ok(&["projections", "drop", name, old]).await;
    }
    cluster.service(1).resume();
    let (woken, mut answers) = (Instant::now(), 0);
    while woken.elapsed() < Duration::from_secs(3) {
        assert_eq!(
            Answers::of(&context.services[1], &context.token).await,
            expected,
            "{:?}",
            woken.elapsed()
        );
        answers += 1;
    }
    summary::print(&format!("MongoDB, node frozen over three rebuilds: {answers} answers, all complete"));
}

/// What a node answers from each read model, once it answers.
#[derive(Debug, PartialEq)]
struct Answers {
    registered: usize,
    email: String,
    webhooks: usize,
}

impl Answers {
    async fn of(service: &Client, token: &str) -> Self {
        let stats = answer(service, token, "/stats").await;
        let me = answer(service, token, "/users/me").await;
        let webhooks = answer(service, token, "/webhooks").await;
        assert_eq!(me["email"], ADMIN_EMAIL);
        Self {
            registered: usize::try_from(stats["registered"].as_u64().unwrap()).unwrap(),
            email: me["email"].as_str().unwrap().to_owned(),
            webhooks: webhooks["webhooks"].as_array().unwrap().len(),
        }
    }
}

/// The answer to a GET request; 503 is no answer.
async fn answer(service: &Client, token: &str, path: &str) -> Value {
    eventually("an answer", async || {
        let answer = service.get(path).bearer(token).timeout(TIMEOUT).try_send().await.ok()?;
        (answer.status() != 503).then(|| answer.expect(200).json())
    })
    .await
}
