//! A replica set of three loses its primary in every possible way while two services write to it.

use std::collections::BTreeMap;
use std::time::Duration;

use testkit::ReplicaSet;
use testkit::service::run_test_with_timeout;
use tokio::time::sleep;

use crate::clients::{ClientContext, Clients};
use crate::cluster::{Cluster, await_writes};
use crate::crash_test::CrashTest;
use crate::journal::WriteRecord;
use crate::seeded_rng::SeededRng;
use crate::summary;
use crate::test_config::TestConfig;

/// The client timeout. The service answers within ten seconds, whatever its database does; a busy machine
/// needs some slack.
const TIMEOUT: Duration = Duration::from_secs(12);
/// The longest time without an acknowledged write, with elections after two seconds.
const LONGEST_GAP: Duration = Duration::from_secs(12);
/// How long the set has no majority.
const WITHOUT_MAJORITY: Duration = Duration::from_secs(3);
/// Writes acknowledged by every service between two failures.
const WRITES_BETWEEN_FAILURES: usize = 10;

/// A way to lose a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    /// SIGKILL, and a later restart.
    Killed,
    /// SIGSTOP, and SIGCONT once there is another primary.
    Frozen,
    /// `replSetStepDown`.
    SteppedDown,
    /// A network partition from members and clients.
    CutOff,
    /// A network partition from the other members only.
    CutOffFromMembers,
    /// The primary and one more member are killed: no primary until they are back.
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
async fn acknowledged_writes_survive_every_kind_of_primary_loss() {
    let config = TestConfig::from_env();
    run_test_with_timeout(TestConfig::timeout(config.primary_losses), lose_primaries(config)).await;
}

async fn lose_primaries(config: TestConfig) {
    let test = "MongoDB of three, two services";
    let mut rng = TestConfig::rng(test);
    let mut set = ReplicaSet::of(3).await;
    let mut cluster = Cluster::on_mongodb(2, &set.url(), "aegis");
    let context = cluster.start_all(TIMEOUT).await;
    let mut crash_test = CrashTest::start(context.clone(), Clients::start(&context, &mut rng))
        .watching_tokens(&mut rng)
        .with_sessions(&mut rng);
    let mut gaps: BTreeMap<Loss, Vec<Duration>> = BTreeMap::new();
    for round in 0..config.primary_losses {
        let loss = LOSSES[round % LOSSES.len()];
        let gap = lose_primary(loss, &mut set, &context, &mut rng).await;
        summary::print(&format!("{test}: {loss:?}, no acknowledged write for {:.1} s", gap.as_secs_f64()));
        assert!(gap < LONGEST_GAP, "{loss:?}: a service has acknowledged nothing for {gap:?}");
        gaps.entry(loss).or_default().push(gap);
        cluster.assert_running();
        crash_test.check(&cluster).await;
    }
    crash_test.finish(test, &cluster).await;
    let unanswered = context.journal.records().into_iter().find(WriteRecord::timed_out);
    assert!(unanswered.is_none(), "a request was not answered within {TIMEOUT:?}: {unanswered:?}");
    for (loss, gaps) in gaps {
        let longest = gaps.iter().max().unwrap().as_secs_f64();
        summary::print(&format!(
            "{test}: {loss:?} {} times, longest without an acknowledged write {longest:.1} s",
            gaps.len()
        ));
    }
}

/// Loses the primary, waits until writes succeed again, and repairs the set. Returns the longest time without
/// an acknowledged write of one service, not counting the time without a majority.
async fn lose_primary(
    loss: Loss,
    set: &mut ReplicaSet,
    context: &ClientContext,
    rng: &mut SeededRng,
) -> Duration {
    let primary = set.wait_until_healthy().await;
    await_writes(context, WRITES_BETWEEN_FAILURES, context.journal.now()).await;
    sleep(rng.duration_between(Duration::ZERO, Duration::from_millis(200))).await;
    let mut since = context.journal.now();
    match loss {
        Loss::Killed => {
            set.members()[primary].kill();
            await_writes(context, 5, since).await;
            set.members()[primary].restart().await;
        }
        Loss::Frozen => {
            set.members()[primary].pause();
            await_writes(context, 5, since).await;
            set.members()[primary].resume();
        }
        Loss::SteppedDown => drop(set.step_down().await),
        Loss::CutOff => {
            set.isolate(primary);
            await_writes(context, 5, since).await;
            set.heal();
        }
        Loss::CutOffFromMembers => {
            set.isolate_from_members(primary);
            await_writes(context, 5, since).await;
            set.heal();
        }
        Loss::WithMajority => since = lose_majority(set, primary, context, rng).await,
    }
    let repaired = context.journal.now();
    set.wait_until_healthy().await;
    await_writes(context, 5, repaired).await;
    let gap_of = |service| summary::longest_gap(&context.journal, Some(service), since);
    (0..context.services.len()).map(gap_of).max().unwrap()
}

/// Asserts that nothing is acknowledged without a majority. Returns when the majority is back.
async fn lose_majority(
    set: &mut ReplicaSet,
    primary: usize,
    context: &ClientContext,
    rng: &mut SeededRng,
) -> Duration {
    let other = (primary + 1 + rng.below(2)) % 3;
    for member in [primary, other] {
        set.members()[member].kill();
    }
    let lost = context.journal.now();
    sleep(WITHOUT_MAJORITY).await;
    let acknowledged = context.journal.acknowledgements(lost);
    assert!(acknowledged.is_empty(), "acknowledged by one member of three: {acknowledged:?}");
    let regained = context.journal.now();
    for member in [other, primary] {
        set.members()[member].restart().await;
    }
    regained
}
