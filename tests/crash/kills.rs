//! The service is killed, frozen and started again, and all the while clients write.

use std::time::Duration;

use tempfile::TempDir;
use testkit::service::within_limit;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::check::Siege;
use crate::fleet::{Fleet, works_again};
use crate::plan::Plan;
use crate::summary;
use crate::swarm::{Desk, Swarm};

/// How long a client waits for an answer: less than a service is frozen.
const PATIENCE: Duration = Duration::from_millis(1200);
/// What every service has acknowledged between two kills.
const BETWEEN: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_embedded_database_kills_and_freezes_lose_nothing() {
    let data = TempDir::new().unwrap();
    survive("embedded, one service", Fleet::embedded(data.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mongodb_kills_and_freezes_lose_nothing() {
    let database = testkit::mongodb().await.database();
    survive("MongoDB, one service", Fleet::on_mongodb(1, database.url(), database.name())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_services_on_mongodb_kills_and_freezes_lose_nothing() {
    let database = testkit::mongodb().await.database();
    survive("MongoDB, two services", Fleet::on_mongodb(2, database.url(), database.name())).await;
}

async fn survive(test: &str, fleet: Fleet) {
    let plan = Plan::of_this_process();
    let chance = Plan::chance(test);
    within_limit(Plan::limit(plan.kills), go_through(test, plan, chance, fleet)).await;
}

async fn go_through(test: &str, plan: Plan, mut chance: Chance, mut fleet: Fleet) {
    let desk = fleet.open(PATIENCE).await;
    let swarm = Swarm::start(&desk, &mut chance);
    let mut siege = Siege::lay(desk.clone(), swarm);
    let (mut freezes, mut in_vain, mut longest) = (0, 0, Duration::ZERO);
    for round in 1..=plan.kills {
        works_again(&desk, BETWEEN, desk.journal.now()).await;
        if round % 3 == 2 {
            freeze(&mut fleet, &desk, &mut chance).await;
            freezes += 1;
        }
        sleep(chance.between(Duration::ZERO, Duration::from_millis(200))).await;
        let killed = desk.journal.now();
        let victim = chance.below(fleet.size());
        fleet.kill(victim);
        if round % 3 == 0 {
            let moment = chance.between(Duration::from_millis(5), Duration::from_millis(400));
            fleet.start_in_vain(victim, moment).await;
            in_vain += 1;
        }
        // The first to open what a crash has left behind is once the command line, once the service.
        let early = round % 2 == 1;
        if early {
            siege.check(&fleet).await;
        }
        let started = desk.journal.now();
        fleet.start(victim).await;
        if !early {
            siege.check(&fleet).await;
        }
        works_again(&desk, 1, started).await;
        // Nobody can write while the only service is down.
        let since = if fleet.size() == 1 { started } else { killed };
        longest = longest.max(summary::longest_gap(&desk.journal, None, since));
        fleet.assert_running();
    }
    siege.raise(test, &fleet).await;
    let (kills, longest) = (plan.kills, longest.as_secs_f64());
    summary::say(&format!(
        "{test}: {kills} kills, {in_vain} more while it started, {freezes} freezes; the longest without an acknowledged \
         write {longest:.1} s"
    ));
}

/// Lets a service stand still for longer than its clients wait.
async fn freeze(fleet: &mut Fleet, desk: &Desk, chance: &mut Chance) {
    // With two services the transaction of the frozen one is in the way of the other, until that ends it after some
    // seconds: sometimes there is time for it.
    let longest = if fleet.size() > 1 && chance.once_in(2) { 6000 } else { 2000 };
    let time = chance.between(PATIENCE + Duration::from_millis(200), Duration::from_millis(longest));
    let victim = chance.below(fleet.size());
    fleet.service(victim).freeze();
    sleep(time).await;
    fleet.service(victim).thaw();
    fleet.assert_running();
    works_again(desk, 1, desk.journal.now()).await;
}
