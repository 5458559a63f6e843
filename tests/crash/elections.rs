//! A replica set of three loses its primary, in every way there is, while two services write to it.

use std::collections::BTreeMap;
use std::time::Duration;

use testkit::ReplicaSet;
use testkit::service::within_limit;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::check::Siege;
use crate::fleet::{Fleet, works_again};
use crate::journal::Record;
use crate::plan::Plan;
use crate::summary;
use crate::swarm::{Desk, Swarm};

/// How long a client waits for an answer. The service promises one within ten seconds, whatever its database does; a
/// busy machine may need a moment more to carry it over.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a service may acknowledge no write, with elections after two seconds.
const LONGEST_GAP: Duration = Duration::from_secs(12);
/// How long a majority is missing.
const WITHOUT_MAJORITY: Duration = Duration::from_secs(3);
/// What every service has acknowledged between two losses.
const BETWEEN: usize = 10;

/// A way to lose a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    /// SIGKILL, and a start some time later.
    Killed,
    /// SIGSTOP, and SIGCONT when there is another.
    Frozen,
    /// It hands over by itself.
    SteppedDown,
    /// Nobody reaches it.
    CutOff,
    /// The other members do not reach it, and clients do.
    CutOffFromMembers,
    /// It and one more are killed: nobody can take over until they are back.
    WithMajority,
}

const LOSSES: [Loss; 6] = [
    Loss::Killed,
    Loss::Frozen,
    Loss::SteppedDown,
    Loss::CutOff,
    Loss::CutOffFromMembers,
    Loss::WithMajority,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_the_primary_nothing_is_lost_and_writes_go_on() {
    let plan = Plan::of_this_process();
    within_limit(Plan::limit(plan.primary_losses), lose_primaries(plan)).await;
}

async fn lose_primaries(plan: Plan) {
    let test = "MongoDB of three, two services";
    let mut chance = Plan::chance(test);
    let mut set = ReplicaSet::of(3).await;
    let mut fleet = Fleet::on_mongodb(2, &set.url(), "aegis");
    let desk = fleet.open(PATIENCE).await;
    let mut siege = Siege::lay(desk.clone(), Swarm::start(&desk, &mut chance));
    let mut gaps: BTreeMap<Loss, Vec<Duration>> = BTreeMap::new();
    for round in 0..plan.primary_losses {
        let loss = LOSSES[round % LOSSES.len()];
        let gap = lose_primary(loss, &mut set, &desk, &mut chance).await;
        summary::say(&format!("{test}: {loss:?}, no acknowledged write for {:.1} s", gap.as_secs_f64()));
        assert!(gap < LONGEST_GAP, "{loss:?}: a service has acknowledged nothing for {gap:?}");
        gaps.entry(loss).or_default().push(gap);
        fleet.assert_running();
        siege.check(&fleet).await;
    }
    siege.raise(test, &fleet).await;
    let unanswered = desk.journal.records().into_iter().find(Record::never_answered);
    assert!(unanswered.is_none(), "a client was not answered for {PATIENCE:?}: {unanswered:?}");
    for (loss, gaps) in gaps {
        let longest = gaps.iter().max().unwrap().as_secs_f64();
        summary::say(&format!(
            "{test}: {loss:?} {} times, longest without an acknowledged write {longest:.1} s",
            gaps.len()
        ));
    }
}

/// Loses the primary in that way, waits until writes go on, and mends the set. Gives the longest time in which one of the
/// services acknowledged no write, of that in which it could have.
async fn lose_primary(loss: Loss, set: &mut ReplicaSet, desk: &Desk, chance: &mut Chance) -> Duration {
    let primary = set.whole().await;
    works_again(desk, BETWEEN, desk.journal.now()).await;
    sleep(chance.between(Duration::ZERO, Duration::from_millis(200))).await;
    let mut since = desk.journal.now();
    match loss {
        Loss::Killed => {
            set.members()[primary].kill();
            works_again(desk, 5, since).await;
            set.members()[primary].start_again().await;
        }
        Loss::Frozen => {
            set.members()[primary].freeze();
            works_again(desk, 5, since).await;
            set.members()[primary].thaw();
        }
        Loss::SteppedDown => drop(set.step_down().await),
        Loss::CutOff => {
            set.cut_off(primary);
            works_again(desk, 5, since).await;
            set.mend();
        }
        Loss::CutOffFromMembers => {
            set.cut_off_from_members(primary);
            works_again(desk, 5, since).await;
            set.mend();
        }
        Loss::WithMajority => since = lose_majority(set, primary, desk, chance).await,
    }
    let mended = desk.journal.now();
    set.whole().await;
    works_again(desk, 5, mended).await;
    let gap_of = |service| summary::longest_gap(&desk.journal, Some(service), since);
    (0..desk.services.len()).map(gap_of).max().unwrap()
}

/// Without a majority nothing is acknowledged. Gives the moment at which there is one again.
async fn lose_majority(set: &mut ReplicaSet, primary: usize, desk: &Desk, chance: &mut Chance) -> Duration {
    let other = (primary + 1 + chance.below(2)) % 3;
    for member in [primary, other] {
        set.members()[member].kill();
    }
    let lost = desk.journal.now();
    sleep(WITHOUT_MAJORITY).await;
    let acknowledged = desk.journal.acknowledgements(lost);
    assert!(acknowledged.is_empty(), "acknowledged by one member of three: {acknowledged:?}");
    let regained = desk.journal.now();
    for member in [other, primary] {
        set.members()[member].start_again().await;
    }
    regained
}
