//! One of three services runs the projectors. It is killed repeatedly and another takes over. No read returns
//! a wrong answer: neither that an existing user does not exist, nor a state older than the requested
//! position.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::service::{Client, eventually, run_test_with_timeout};
use tokio::task::JoinHandle;

use crate::client_write::PASSWORD;
use crate::clients::{ClientContext, Clients};
use crate::cluster::{Cluster, await_writes};
use crate::crash_test::CrashTest;
use crate::summary;
use crate::test_config::TestConfig;

const TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two kills.
const KILL_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time of 503 answers after a kill: until the lease has expired and another service has caught
/// up.
const MAX_UNAVAILABLE: Duration = Duration::from_secs(4);
/// The longest projection lag after a kill.
const MAX_CATCH_UP: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_projector_is_replaced_and_reads_stay_correct() {
    let config = TestConfig::from_env();
    run_test_with_timeout(TestConfig::timeout(config.projector_kills), kill_projectors(config)).await;
}

async fn kill_projectors(config: TestConfig) {
    let test = "MongoDB, three services";
    let mut rng = TestConfig::rng(test);
    let database = testkit::shared_mongodb().await.database();
    let mut cluster = Cluster::on_mongodb(3, database.url(), database.name());
    let context = cluster.start_all(TIMEOUT).await;
    let crash_test =
        CrashTest::start(context.clone(), Clients::start(&context, &mut rng)).watching_tokens(&mut rng);
    let reader = Reader::start(&context);
    let mut takeover = Duration::ZERO;
    for _ in 0..config.projector_kills {
        let next = tokio::time::Instant::now() + KILL_INTERVAL;
        await_writes(&context, 1, context.journal.now()).await;
        let leader = leader_index(&cluster).await;
        cluster.kill(leader);
        takeover = takeover.max(catch_up(&cluster).await);
        cluster.start(leader).await;
        cluster.assert_running();
        tokio::time::sleep_until(next).await;
    }
    // The start of the last service, which takes long on a busy machine, holds up no projection.
    let caught_up = catch_up(&cluster).await;
    let results = reader.stop().await;
    crash_test.finish(test, &cluster).await;
    cluster.verify_read_models().await;
    summary::print(&format!(
        "{test}: the projector killed {} times; longest until another had caught up {:.1} s; {} reads, {} of them 503, longest \
         time without another answer {:.1} s",
        config.projector_kills,
        takeover.as_secs_f64(),
        results.reads,
        results.unavailable,
        results.longest.as_secs_f64(),
    ));
    assert!(
        results.wrong.is_empty(),
        "{} wrong answers, the first: {}",
        results.wrong.len(),
        results.wrong[0]
    );
    // A debug build on a busy machine gets more time.
    let slack = if config.is_long { 1 } else { 4 };
    assert!(results.longest < MAX_UNAVAILABLE * slack, "{:?} without an answer", results.longest);
    let caught_up = caught_up.max(takeover);
    assert!(caught_up < MAX_CATCH_UP * slack, "{caught_up:?} until what was acknowledged was projected");
}

/// The index of the service that runs the projector of `users`.
async fn leader_index(cluster: &Cluster) -> usize {
    eventually("a service to run the projectors", async || {
        let users = cluster.users_status().await;
        let process = users["owner"].as_str()?.split(':').nth(1)?.parse().ok()?;
        cluster.index_of_process(process)
    })
    .await
}

/// How long it takes until the events that exist now are projected. New ones keep coming meanwhile.
async fn catch_up(cluster: &Cluster) -> Duration {
    let started = Instant::now();
    let head = cluster.users_status().await["head"].as_u64().unwrap();
    eventually(&format!("events up to {head} to be projected"), async || {
        let users = cluster.users_status().await;
        let live = users["versions"].as_array().unwrap().iter().find(|version| version["role"] == "live");
        (live.unwrap()["position"].as_u64().unwrap() >= head).then(|| started.elapsed())
    })
    .await
}

/// The answers that a reader got.
#[derive(Default)]
struct ReadResults {
    reads: usize,
    unavailable: usize,
    wrong: Vec<String>,
    /// The longest time in which every answer was 503.
    longest: Duration,
}

/// Signs users up, changes them, and reads them from every service at once.
struct Reader {
    stop: Arc<AtomicBool>,
    results: Arc<Mutex<ReadResults>>,
    task: JoinHandle<()>,
}

impl Reader {
    fn start(context: &ClientContext) -> Self {
        let (stop, results) = (Arc::<AtomicBool>::default(), Arc::<Mutex<ReadResults>>::default());
        let task = tokio::spawn(read(context.clone(), Arc::clone(&stop), Arc::clone(&results)));
        Self { stop, results, task }
    }

    async fn stop(self) -> ReadResults {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        std::mem::take(&mut *self.results.lock().unwrap())
    }
}

async fn read(context: ClientContext, stop: Arc<AtomicBool>, results: Arc<Mutex<ReadResults>>) {
    let mut good = Instant::now();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let service = &context.services[number % context.services.len()];
        let Some((id, mut position)) = sign_up(service, number).await else { continue };
        let deactivated =
            if number.is_multiple_of(2) { None } else { deactivate(service, &context.token, &id).await };
        position = deactivated.unwrap_or(position);
        for other in &context.services {
            let request = other.get(&format!("/users/{id}")).bearer(&context.token);
            let request = request.header("Aegis-Min-Position", &position.to_string()).timeout(TIMEOUT);
            // A killed service gives no answer, hence no wrong one.
            let Ok(answer) = request.try_send().await else { continue };
            let mut results = results.lock().unwrap();
            results.reads += 1;
            match answer.status() {
                503 => {
                    results.unavailable += 1;
                    results.longest = results.longest.max(good.elapsed());
                }
                200 if deactivated.is_none() || answer.json()["is_active"] == false => good = Instant::now(),
                _ => results.wrong.push(format!("{} {}", answer.status(), answer.text())),
            }
        }
    }
}

/// Signs a user up; the id and the position if acknowledged.
async fn sign_up(service: &Client, number: usize) -> Option<(String, u64)> {
    let body = json!({ "email": format!("read{number}@example.com"), "username": format!("read {number}"),
        "password": PASSWORD });
    let answer = service.post("/auth/signup").json(&body).timeout(TIMEOUT).try_send().await.ok()?;
    (answer.status() == 201).then(|| (answer.json()["id"].as_str().unwrap().to_owned(), answer.position()))
}

/// Deactivates a user; the position if acknowledged.
async fn deactivate(service: &Client, token: &str, id: &str) -> Option<u64> {
    let request = service.post(&format!("/users/{id}/deactivate")).bearer(token).json(&json!({}));
    let answer = request.timeout(TIMEOUT).try_send().await.ok()?;
    (answer.status() == 200).then(|| answer.position())
}
