//! The receiver of `docs/subscribe.md`, as it stands there, killed at any moment and started again while events come and the
//! services are killed as well. In the end it has 1, 2, 3 … N in its file, once and in order; and whoever delivers is replaced
//! within ten seconds. A few kills by default; `AEGIS_TEST_LONG=1` asks for fifty, and ten of the services.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use testkit::reserve_port;
use testkit::service::{until, until_within};

use crate::consumers::{DOCUMENT, Life, Seen, difference, log, seen};
use crate::fleet::{Fleet, works_again};
use crate::plan::Plan;
use crate::summary;
use crate::swarm::{Desk, Swarm};

/// The longest life of a receiver.
const LIFE: Duration = Duration::from_millis(1_500);
/// How long the last of them may take to see everything on a slow machine. A webhook that has waited for a receiver that is
/// not there pauses for longer and longer.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long it may take until another node delivers.
const TAKEN_OVER: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mongodb_a_receiver_that_is_killed_misses_and_repeats_nothing() {
    let database = testkit::mongodb().await.database();
    deliver("MongoDB", Fleet::on_mongodb(2, database.url(), database.name())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_embedded_database_a_receiver_that_is_killed_misses_and_repeats_nothing() {
    let data = TempDir::new().unwrap();
    deliver("embedded", Fleet::embedded(data.path())).await;
}

async fn deliver(test: &str, mut fleet: Fleet) {
    let mut chance = Plan::chance("webhooks");
    let (kills, kills_of_services) = if Plan::of_this_process().is_long { (50, 10) } else { (6, 2) };
    let desk = fleet.open(Duration::from_secs(10)).await;
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::register(&folder, &desk).await;
    let swarm = Swarm::start(&desk, &mut chance);
    for kill in 0..kills {
        let life = receiver.start();
        tokio::time::sleep(chance.between(LIFE / 4, LIFE)).await;
        if kill % (kills / kills_of_services) == 0 {
            let (since, place) = (desk.journal.now(), kill % fleet.size());
            fleet.kill(place);
            fleet.start(place).await;
            works_again(&desk, 1, since).await;
        }
        drop(life);
    }
    swarm.stop().await;
    let _last = receiver.start();
    // Whoever knows that the receiver is back does not wait for the next attempt.
    receiver.resume(&desk, 0).await;
    receiver.has_all(&desk, 0).await;
    summary::say(&format!(
        "{test}: a receiver of webhooks, killed {kills} times, and the services {kills_of_services} times, has 1 to {}",
        receiver.seen().len()
    ));
    // One that is frozen cannot be told from one on another machine that has died: its lease has to run out.
    let fates = if fleet.size() > 1 { &["frozen", "killed"][..] } else { &["killed"] };
    for fate in fates {
        let taken_over = take_over(fate, &mut fleet, &desk, &receiver).await;
        summary::say(&format!(
            "{test}: the node that delivers was {fate}, and the next event came {taken_over:.1?} later"
        ));
        assert!(taken_over < TAKEN_OVER, "{fate}: {taken_over:?}");
    }
}

/// Ends the service that delivers; says how long it took until what happened then was delivered by another one, or, where
/// there is none, by the next process.
async fn take_over(fate: &str, fleet: &mut Fleet, desk: &Desk, receiver: &Receiver) -> Duration {
    let owner = until("a node that delivers", async || {
        let mut owners = Vec::new();
        for (place, service) in desk.services.iter().enumerate() {
            let metrics = service.get("/metrics").send().await.expect(200).text();
            owners.extend(metrics.contains(r#"aegis_webhooks{state="active"} 1"#).then_some(place));
        }
        // One that was frozen may take a moment to find out that it is none any more.
        owners.pop().filter(|_| owners.is_empty())
    })
    .await;
    let (begun, witness) = (Instant::now(), (owner + 1) % fleet.size());
    if fate == "frozen" {
        fleet.service(owner).freeze();
    } else {
        fleet.kill(owner);
    }
    if witness == owner {
        fleet.start(owner).await;
    }
    let email = format!("{fate}@example.com");
    let body = json!({"email": email, "username": fate, "password": "the last of all users"});
    until("an answer", async || {
        let answer = desk.services[witness].post("/auth/signup").json(&body).send().await;
        // Sent again, it may have been done.
        matches!(answer.status(), 201 | 400).then_some(())
    })
    .await;
    receiver.has_all(desk, witness).await;
    let taken_over = begun.elapsed();
    if fate == "frozen" {
        fleet.service(owner).thaw();
    }
    taken_over
}

/// The program of the document, and where it writes to.
struct Receiver {
    port: u16,
    file: PathBuf,
    id: String,
    secret: String,
}

impl Receiver {
    async fn register(folder: &TempDir, desk: &Desk) -> Self {
        let port = reserve_port();
        let body = json!({"url": format!("http://127.0.0.1:{port}/"), "after": 0});
        let made = desk.services[0].post("/webhooks").bearer(&desk.token).json(&body).send().await;
        let made = made.expect(201).json();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Self { port, file: folder.path().join("received.jsonl"), id: text("id"), secret: text("secret") }
    }

    fn start(&self) -> Life {
        let (_, chapter) = DOCUMENT.split_once("## Webhooks").unwrap();
        let (_, after) = chapter.split_once("```python\n").unwrap();
        let program = after.split_once("```\n").unwrap().0;
        let mut python = testkit::python_with("standardwebhooks==1.1.0");
        python.args(["-c", program]).arg(self.port.to_string()).arg(&self.file);
        Life(python.env("WEBHOOK_SECRET", &self.secret).stdin(Stdio::null()).spawn().unwrap())
    }

    async fn resume(&self, desk: &Desk, service: usize) {
        let path = format!("/webhooks/{}/resume", self.id);
        desk.services[service].post(&path).bearer(&desk.token).send().await.expect(200);
    }

    fn seen(&self) -> Vec<Seen> {
        seen(&self.file)
    }

    /// Waits until it has the whole log.
    async fn has_all(&self, desk: &Desk, service: usize) {
        let log = log(&desk.services[service], &desk.token).await;
        until_within(PATIENCE, "the receiver to see everything", async || {
            (self.seen().len() >= log.len()).then_some(())
        })
        .await;
        let seen = self.seen();
        assert!(seen == log, "{}", difference(&seen, &log));
    }
}
