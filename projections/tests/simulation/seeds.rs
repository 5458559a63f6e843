//! Runs seeds on several threads and reports the first failure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{available_parallelism, scope};

use crate::coverage::Coverage;
use crate::run::run;

/// How many seeds are run unless `AEGIS_TEST_SEEDS` says otherwise.
const SEEDS: u64 = 2000;

/// The number in an environment variable, if it is set.
#[expect(clippy::disallowed_methods, reason = "a test has no settings but these")]
pub(crate) fn number_from_env(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} holds `{text}`, which is no number")))
}

/// How many seeds to run.
pub(crate) fn seed_count() -> u64 {
    number_from_env("AEGIS_TEST_SEEDS").unwrap_or(SEEDS)
}

/// The first violation of a seed, and how to replay it.
pub(crate) fn run_seed(seed: u64, verbose: bool, coverage: &Coverage) -> Option<String> {
    let broken = match catch_unwind(AssertUnwindSafe(|| run(seed, verbose))) {
        Ok(outcome) => {
            coverage.merge(&outcome.coverage);
            outcome.broken?
        }
        Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(text), _) => text.clone(),
            (None, text) => text.copied().unwrap_or("it panicked").to_owned(),
        },
    };
    Some(format!(
        "seed {seed}: {broken}\n\nRun it again, step by step, with\n\n    AEGIS_TEST_SEED={seed} cargo test -p projections --test simulation\n"
    ))
}

/// Runs seeds from 1 on all processors until one fails; returns the failure of the lowest seed.
pub(crate) fn first_failure(seeds: u64, coverage: &Coverage) -> Option<String> {
    let (next, failures) = (AtomicU64::new(1), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds || !failures.lock().unwrap().is_empty() {
                return;
            }
            let failure = run_seed(seed, false, coverage);
            failures.lock().unwrap().extend(failure.map(|failure| (seed, failure)));
        }
    };
    scope(|threads| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            threads.spawn(work);
        }
    });
    failures.into_inner().unwrap().into_iter().min().map(|(_, failure)| failure)
}
