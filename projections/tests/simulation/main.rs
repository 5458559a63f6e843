//! The event store and the read models under fire, simulated: several processes on one database in memory whose every
//! call may be late, refused, forgotten, answered wrongly as unknown, or the process's last. A seed determines all of
//! it, so that what one run in a hundred thousand finds can be run again.
//!
//! `AEGIS_TEST_SEEDS=100000` runs more seeds than usual, `AEGIS_TEST_SEED=7` that one alone and step by step.
//!
//! [`run`] tells the story of a seed; [`world`] is what its processes share. [`node`] is a process, [`client`] (with
//! [`people`] and [`names`]) and [`follower`] are what it does. [`faulty`] is the database as it meets it, through its
//! [`line`] and in its [`weather`]. [`sentry`] looks on while it happens; [`calm`], [`verdict`] (by the [`ledger`]) and
//! [`holdings`] judge it in the end.
#![cfg(test)]

mod board;
mod calm;
mod chance;
mod client;
mod clock;
mod faulty;
mod follower;
mod history;
mod holdings;
mod ledger;
mod life;
mod line;
mod names;
mod node;
mod operators;
mod people;
mod programs;
mod run;
mod seeds;
mod sentry;
mod tally;
mod things;
mod trace;
mod verdict;
mod weather;
mod world;

use crate::seeds::{failure_of, first_failure, how_many, number_in};
use crate::tally::Tally;

/// What a round of seeds must have met to prove anything.
const MET: [&str; 24] = [
    "acknowledged",
    "unknown, done",
    "unknown, not done",
    "refused: conflict",
    "refused: claim taken",
    "refused: erased",
    "refused: invalid",
    "refused: busy",
    "refused: database",
    "crashes at a call",
    "stops in order",
    "batches of several appends",
    "keepers overtaken",
    "leases taken over",
    "changes of versions overtaken",
    "changes refused",
    "changes with an unknown end",
    "rebuilds asked for",
    "rebuilds done",
    "rebuilds compared",
    "rebuilds in the calm",
    "upgrades done",
    "rollbacks done",
    "drops done",
];

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_nothing_is_skipped() {
    let tally = Tally::default();
    if let Some(seed) = number_in("AEGIS_TEST_SEED") {
        let failure = failure_of(seed, true, &tally);
        println!("{}", tally.lines());
        assert!(failure.is_none(), "{}", failure.unwrap_or_default());
        return;
    }
    let seeds = how_many();
    let failure = first_failure(seeds, &tally);
    println!("{seeds} seeds have met:\n{}", tally.lines());
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    for what in MET {
        assert!(seeds < 1000 || tally.of(what) > 0, "no seed has met: {what}");
    }
}

#[test]
fn one_seed_is_one_run() {
    for seed in 1..=how_many().div_ceil(50) {
        let digests = [run::run(seed, false).digest, run::run(seed, false).digest];
        assert_eq!(digests[0], digests[1], "seed {seed} is not always the same run");
    }
}
