//! Of three services one keeps the projections. It is killed again and again; another takes over, and nobody who asks is
//! told what is not so: that somebody does not exist, or what was true before their last change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::service::{Client, until, within_limit};
use tokio::task::JoinHandle;

use crate::check::Siege;
use crate::fleet::{Fleet, works_again};
use crate::plan::Plan;
use crate::summary;
use crate::swarm::{Desk, Swarm};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two kills.
const BETWEEN: Duration = Duration::from_secs(5);
/// How long answers may be missing after a kill: until the lease has run out and another service has caught up.
const BEHIND: Duration = Duration::from_secs(4);
/// How long it may take after the last kill until everything is projected.
const CAUGHT_UP: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_keeps_the_projections_dies_and_nobody_is_told_what_is_not_so() {
    let plan = Plan::of_this_process();
    within_limit(Plan::limit(plan.owner_kills), kill_owners(plan)).await;
}

async fn kill_owners(plan: Plan) {
    let test = "MongoDB, three services";
    let mut chance = Plan::chance(test);
    let database = testkit::mongodb().await.database();
    let mut fleet = Fleet::on_mongodb(3, database.url(), database.name());
    let desk = fleet.open(PATIENCE).await;
    let siege = Siege::lay(desk.clone(), Swarm::start(&desk, &mut chance));
    let reader = Reader::start(&desk);
    let (mut killed, mut takeover) = (Instant::now(), Duration::ZERO);
    for _ in 0..plan.owner_kills {
        let next = tokio::time::Instant::now() + BETWEEN;
        works_again(&desk, 1, desk.journal.now()).await;
        let owner = owner(&fleet).await;
        fleet.kill(owner);
        killed = Instant::now();
        let behind = until("that what is acknowledged is projected again", async || {
            (lag(&fleet, killed).await == 0).then(|| killed.elapsed())
        })
        .await;
        takeover = takeover.max(behind);
        fleet.start(owner).await;
        fleet.assert_running();
        tokio::time::sleep_until(next).await;
    }
    let caught_up = until("that everything is projected", async || {
        (lag(&fleet, killed).await == 0).then(|| killed.elapsed())
    })
    .await;
    let told = reader.stop().await;
    siege.raise(test, &fleet).await;
    fleet.verify_read_models().await;
    summary::say(&format!(
        "{test}: the owner killed {} times; longest until another had caught up {:.1} s; {} reads, {} of them 503, longest \
         time without another answer {:.1} s",
        plan.owner_kills,
        takeover.as_secs_f64(),
        told.reads,
        told.unavailable,
        told.longest.as_secs_f64(),
    ));
    assert!(told.wrong.is_empty(), "{} wrong answers, the first: {}", told.wrong.len(), told.wrong[0]);
    // A build that was not made for speed, on a machine that does much else meanwhile, gets more time.
    let slack = if plan.is_long { 1 } else { 4 };
    assert!(told.longest < BEHIND * slack, "{:?} without an answer", told.longest);
    let caught_up = caught_up.saturating_sub(BETWEEN).max(takeover);
    assert!(caught_up < CAUGHT_UP * slack, "{caught_up:?} until what was acknowledged was projected");
}

/// The place of the service that keeps `users`.
async fn owner(fleet: &Fleet) -> usize {
    until("a service that keeps the projections", async || {
        let users = fleet.users_status().await;
        let process = users["owner"].as_str()?.split(':').nth(1)?.parse().ok()?;
        fleet.place_of(process)
    })
    .await
}

/// How many of the events that were there at that time are not projected.
async fn lag(fleet: &Fleet, since: Instant) -> u64 {
    let users = fleet.users_status().await;
    let live = users["versions"].as_array().unwrap().iter().find(|version| version["role"] == "live");
    let live = live.unwrap();
    // Under load there is always something on its way: what counts is that nothing old is.
    let age = live["lag_seconds"].as_f64().unwrap();
    if age < 0.5 && since.elapsed() > Duration::from_millis(500) { 0 } else { live["lag"].as_u64().unwrap() }
}

/// What a reader was told.
#[derive(Default)]
struct Told {
    reads: usize,
    unavailable: usize,
    wrong: Vec<String>,
    /// The longest time in which every answer was a 503.
    longest: Duration,
}

/// Somebody who signs people up, changes them, and asks every service for them at once.
struct Reader {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

impl Reader {
    fn start(desk: &Desk) -> Self {
        let (stop, told) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Told>>::default());
        let task = tokio::spawn(read(desk.clone(), Arc::clone(&stop), Arc::clone(&told)));
        Self { stop, told, task }
    }

    async fn stop(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

async fn read(desk: Desk, stop: Arc<AtomicBool>, told: Arc<Mutex<Told>>) {
    let mut good = Instant::now();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let service = &desk.services[number % desk.services.len()];
        let Some((id, mut position)) = sign_up(service, number).await else { continue };
        let deactivated =
            if number.is_multiple_of(2) { None } else { deactivate(service, &desk.token, &id).await };
        position = deactivated.unwrap_or(position);
        for other in &desk.services {
            let asked = other.get(&format!("/users/{id}")).bearer(&desk.token);
            let asked = asked.header("Aegis-Min-Position", &position.to_string()).within(PATIENCE);
            // A service that was killed answers nothing; that is no answer, and no wrong one.
            let Ok(answer) = asked.try_send().await else { continue };
            let mut told = told.lock().unwrap();
            told.reads += 1;
            match answer.status() {
                503 => {
                    told.unavailable += 1;
                    told.longest = told.longest.max(good.elapsed());
                }
                200 if deactivated.is_none() || answer.json()["is_active"] == false => good = Instant::now(),
                _ => told.wrong.push(format!("{} {}", answer.status(), answer.text())),
            }
        }
    }
}

/// Signs somebody up; their id and the position of that, if it was acknowledged.
async fn sign_up(service: &Client, number: usize) -> Option<(String, u64)> {
    let body = json!({ "email": format!("read{number}@example.com"), "username": format!("read {number}"),
        "password": "correct horse battery" });
    let answer = service.post("/auth/signup").json(&body).within(PATIENCE).try_send().await.ok()?;
    (answer.status() == 201).then(|| (answer.json()["id"].as_str().unwrap().to_owned(), answer.position()))
}

/// Deactivates somebody; the position of that, if it was acknowledged.
async fn deactivate(service: &Client, token: &str, id: &str) -> Option<u64> {
    let request = service.post(&format!("/users/{id}/deactivate")).bearer(token).json(&json!({}));
    let answer = request.within(PATIENCE).try_send().await.ok()?;
    (answer.status() == 200).then(|| answer.position())
}
