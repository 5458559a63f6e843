//! Runs the webhook receiver of `docs/subscribe.md` verbatim. It is killed and restarted at random moments
//! while events are appended and services are killed as well. In the end it has recorded positions 1, 2, 3 …
//! N once and in order, and a node that stops delivering is replaced within ten seconds. A few kills by
//! default; with `AEGIS_TEST_LONG=1` fifty, and ten of the services.

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

/// The longest time before the receiver is killed.
const MAX_LIFETIME: Duration = Duration::from_millis(1_500);
/// Limit for the final catch-up on a slow machine: retry delays grow while the receiver is down.
const TIMEOUT: Duration = Duration::from_mins(3);
/// Limit for the failover to another node.
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
            let (since, index) = (context.journal.now(), kill % cluster.size());
            cluster.kill(index);
            cluster.start(index).await;
            await_writes(&context, 1, since).await;
        }
        drop(child);
    }
    clients.stop().await;
    let _last = receiver.start();
    // Resuming skips the retry delay.
    receiver.resume(&context, 0).await;
    receiver.await_all_events(&context, 0).await;
    summary::print(&format!(
        "{test}: webhook receiver killed {kills} times, services {kills_of_services} times: has 1 to {}",
        receiver.seen().len()
    ));
    // The lease of a frozen node has to expire, as that of a node on another machine that died.
    let failures = if cluster.size() > 1 { &["frozen", "killed"][..] } else { &["killed"] };
    for failure in failures {
        let failover = fail_over(failure, &mut cluster, &context, &receiver).await;
        summary::print(&format!(
            "{test}: delivering node {failure}, next event delivered after {failover:.1?}"
        ));
        assert!(failover < MAX_FAILOVER, "{failure}: {failover:?}");
    }
}

/// Freezes or kills the service that delivers. Returns the time until an event appended afterwards was
/// delivered by another service, or by the restarted one.
async fn fail_over(
    failure: &str,
    cluster: &mut Cluster,
    context: &ClientContext,
    receiver: &Receiver,
) -> Duration {
    let leader = eventually("a node that delivers", async || {
        let mut leaders = Vec::new();
        for (index, service) in context.services.iter().enumerate() {
            let metrics = service.get("/metrics").send().await.expect(200).text();
            leaders.extend(metrics.contains(r#"aegis_webhooks{state="active"} 1"#).then_some(index));
        }
        // A thawed node takes a moment to notice that it has lost the lease.
        leaders.pop().filter(|_| leaders.is_empty())
    })
    .await;
    let (begun, observer) = (Instant::now(), (leader + 1) % cluster.size());
    if failure == "frozen" {
        cluster.service(leader).pause();
    } else {
        cluster.kill(leader);
    }
    if observer == leader {
        cluster.start(leader).await;
    }
    let email = format!("{failure}@example.com");
    let body = json!({"email": email, "username": failure, "password": "the last of all users"});
    eventually("an answer", async || {
        let answer = context.services[observer].post("/auth/signup").json(&body).send().await;
        // 400: an earlier try was executed.
        matches!(answer.status(), 201 | 400).then_some(())
    })
    .await;
    receiver.await_all_events(context, observer).await;
    let failover = begun.elapsed();
    if failure == "frozen" {
        cluster.service(leader).resume();
    }
    failover
}

/// The receiver program of the document and its output file.
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

    /// Waits until it has received the whole log.
    async fn await_all_events(&self, context: &ClientContext, service: usize) {
        let log = whole_log(&context.services[service], &context.token).await;
        eventually_within(TIMEOUT, "the receiver to receive every event", async || {
            (self.seen().len() >= log.len()).then_some(())
        })
        .await;
        let seen = self.seen();
        assert!(seen == log, "{}", difference(&seen, &log));
    }
}
