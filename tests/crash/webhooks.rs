//! The receiver of `docs/subscribe.md`, as it stands there, killed at any moment and started again while events come and the
//! services are killed as well. In the end it has 1, 2, 3 … N in its file, once and in order; and whoever delivers is replaced
//! within ten seconds. A few kills by default; `AEGIS_TEST_LONG=1` asks for fifty, and ten of the services.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use testkit::reserve_port;
use testkit::service::{eventually, eventually_within};

use crate::clients::{ClientContext, Clients};
use crate::cluster::{Cluster, await_writes};
use crate::consumers::{ChildGuard, DOCUMENT, EventRef, difference, read_events, whole_log};
use crate::summary;
use crate::test_config::TestConfig;

/// The longest life of a receiver.
const MAX_LIFETIME: Duration = Duration::from_millis(1_500);
/// How long the last of them may take to see everything on a slow machine. A webhook that has waited for a receiver that is
/// not there pauses for longer and longer.
const TIMEOUT: Duration = Duration::from_mins(3);
/// How long it may take until another node delivers.
const MAX_FAILOVER: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_killed_webhook_receiver_gets_every_event_exactly_once() {
    let database = testkit::shared_mongodb().await.database();
    deliver("MongoDB", Cluster::on_mongodb(2, database.url(), database.name())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_killed_webhook_receiver_gets_every_event_exactly_once() {
    let data = TempDir::new().unwrap();
    deliver("embedded", Cluster::embedded(data.path())).await;
}

async fn deliver(test: &str, mut cluster: Cluster) {
    let mut rng = TestConfig::rng("webhooks");
    let (kills, kills_of_services) = if TestConfig::from_env().is_long { (50, 10) } else { (6, 2) };
    let context = cluster.start_all(Duration::from_secs(10)).await;
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::register(&folder, &context).await;
    let clients = Clients::start(&context, &mut rng);
    for kill in 0..kills {
        let child = receiver.start();
        tokio::time::sleep(rng.duration_between(MAX_LIFETIME / 4, MAX_LIFETIME)).await;
        if kill % (kills / kills_of_services) == 0 {
            let (since, place) = (context.journal.now(), kill % cluster.size());
            cluster.kill(place);
            cluster.start(place).await;
            await_writes(&context, 1, since).await;
        }
        drop(child);
    }
    clients.stop().await;
    let _last = receiver.start();
    // Whoever knows that the receiver is back does not wait for the next attempt.
    receiver.resume(&context, 0).await;
    receiver.await_all_events(&context, 0).await;
    summary::print(&format!(
        "{test}: a receiver of webhooks, killed {kills} times, and the services {kills_of_services} times, has 1 to {}",
        receiver.seen().len()
    ));
    // One that is frozen cannot be told from one on another machine that has died: its lease has to run out.
    let failures = if cluster.size() > 1 { &["frozen", "killed"][..] } else { &["killed"] };
    for failure in failures {
        let failover = fail_over(failure, &mut cluster, &context, &receiver).await;
        summary::print(&format!(
            "{test}: the node that delivers was {failure}, and the next event came {failover:.1?} later"
        ));
        assert!(failover < MAX_FAILOVER, "{failure}: {failover:?}");
    }
}

/// Ends the service that delivers; says how long it took until what happened then was delivered by another one, or, where
/// there is none, by the next process.
async fn fail_over(
    failure: &str,
    cluster: &mut Cluster,
    context: &ClientContext,
    receiver: &Receiver,
) -> Duration {
    let owner = eventually("a node that delivers", async || {
        let mut owners = Vec::new();
        for (place, service) in context.services.iter().enumerate() {
            let metrics = service.get("/metrics").send().await.expect(200).text();
            owners.extend(metrics.contains(r#"aegis_webhooks{state="active"} 1"#).then_some(place));
        }
        // One that was frozen may take a moment to find out that it is none any more.
        owners.pop().filter(|_| owners.is_empty())
    })
    .await;
    let (begun, observer) = (Instant::now(), (owner + 1) % cluster.size());
    if failure == "frozen" {
        cluster.service(owner).pause();
    } else {
        cluster.kill(owner);
    }
    if observer == owner {
        cluster.start(owner).await;
    }
    let email = format!("{failure}@example.com");
    let body = json!({"email": email, "username": failure, "password": "the last of all users"});
    eventually("an answer", async || {
        let answer = context.services[observer].post("/auth/signup").json(&body).send().await;
        // Sent again, it may have been done.
        matches!(answer.status(), 201 | 400).then_some(())
    })
    .await;
    receiver.await_all_events(context, observer).await;
    let failover = begun.elapsed();
    if failure == "frozen" {
        cluster.service(owner).resume();
    }
    failover
}

/// The program of the document, and where it writes to.
struct Receiver {
    port: u16,
    file: PathBuf,
    id: String,
    secret: String,
}

impl Receiver {
    async fn register(folder: &TempDir, context: &ClientContext) -> Self {
        let port = reserve_port();
        let body = json!({"url": format!("http://127.0.0.1:{port}/"), "after": 0});
        let made = context.services[0].post("/webhooks").bearer(&context.token).json(&body).send().await;
        let made = made.expect(201).json();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Self { port, file: folder.path().join("received.jsonl"), id: text("id"), secret: text("secret") }
    }

    fn start(&self) -> ChildGuard {
        let (_, chapter) = DOCUMENT.split_once("## Webhooks").unwrap();
        let (_, after) = chapter.split_once("```python\n").unwrap();
        let program = after.split_once("```\n").unwrap().0;
        let mut python = testkit::python_with("standardwebhooks==1.1.0");
        python.args(["-c", program]).arg(self.port.to_string()).arg(&self.file);
        ChildGuard(python.env("WEBHOOK_SECRET", &self.secret).stdin(Stdio::null()).spawn().unwrap())
    }

    async fn resume(&self, context: &ClientContext, service: usize) {
        let path = format!("/webhooks/{}/resume", self.id);
        context.services[service].post(&path).bearer(&context.token).send().await.expect(200);
    }

    fn seen(&self) -> Vec<EventRef> {
        read_events(&self.file)
    }

    /// Waits until it has the whole log.
    async fn await_all_events(&self, context: &ClientContext, service: usize) {
        let log = whole_log(&context.services[service], &context.token).await;
        eventually_within(TIMEOUT, "the receiver to see everything", async || {
            (self.seen().len() >= log.len()).then_some(())
        })
        .await;
        let seen = self.seen();
        assert!(seen == log, "{}", difference(&seen, &log));
    }
}
