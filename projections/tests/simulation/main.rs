//! Deterministic simulation of event store and projections: several processes on one in-memory database whose
//! every call may be delayed, rejected, lost, of unknown outcome, or the last of its process. A seed
//! determines the whole run, so any failure can be replayed.
//!
//! `AEGIS_TEST_SEEDS=100000` runs more seeds, `AEGIS_TEST_SEED=7` replays one with its steps.
//!
//! [`run`] runs a seed over the [`shared_state`] of its processes. A [`node`] is a process; [`client`] (with
//! [`user_operations`] and [`item_operations`]), [`feed_subscriber`] and [`operators`] are its load.
//! [`faulty_backend`] is its database, behind a [`connection`] with a [`fault_injector`].
//! [`invariant_monitor`] checks every step; [`recovery`], [`history_checker`] (with the [`reference_model`])
//! and [`final_state_check`] check the end.
#![cfg(test)]

mod client;
mod clock;
mod connection;
mod coverage;
mod fault_injector;
mod faulty_backend;
mod feed_subscriber;
mod final_state_check;
mod history;
mod history_checker;
mod invariant_monitor;
mod item_operations;
mod item_projection;
mod lifetime;
mod node;
mod notifications;
mod operators;
mod random;
mod recovery;
mod reference_model;
mod releases;
mod run;
mod seeds;
mod shared_state;
mod trace;
mod user_operations;

use crate::coverage::Coverage;
use crate::seeds::{first_failure, number_from_env, run_seed, seed_count};

/// What a full set of seeds must have exercised.
const REQUIRED_COVERAGE: [&str; 29] = [
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
    "graceful stops",
    "batches of several appends",
    "projector conflicts",
    "leases taken over",
    "version change conflicts",
    "version changes rejected",
    "version changes with unknown outcome",
    "rebuilds requested",
    "rebuilds done",
    "rebuilds compared",
    "rebuilds after faults ended",
    "upgrades done",
    "rollbacks done",
    "drops done",
    "batches of the lane",
    "failovers to a server with another clock",
    "halts",
    "token checks that trusted a row",
    "token checks that a lag held back",
];

#[test]
fn no_fault_loses_acknowledged_appends_or_skips_events() {
    let coverage = Coverage::default();
    if let Some(seed) = number_from_env("AEGIS_TEST_SEED") {
        let failure = run_seed(seed, true, &coverage);
        println!("{}", coverage.lines());
        assert!(failure.is_none(), "{}", failure.unwrap_or_default());
        return;
    }
    let seeds = seed_count();
    let failure = first_failure(seeds, &coverage);
    println!("{seeds} seeds have met:\n{}", coverage.lines());
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    for what in REQUIRED_COVERAGE {
        assert!(seeds < 1000 || coverage.of(what) > 0, "no seed has met: {what}");
    }
}

#[test]
fn runs_are_deterministic_per_seed() {
    for seed in 1..=seed_count().div_ceil(50) {
        let digests = [run::run(seed, false).digest, run::run(seed, false).digest];
        assert_eq!(digests[0], digests[1], "seed {seed} is not always the same run");
    }
}
