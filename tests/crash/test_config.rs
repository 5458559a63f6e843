//! Amounts of work and the seed, from the environment. Runs are short by default; `AEGIS_TEST_LONG=1` makes
//! them long, and each amount has a variable of its own. The seed determines what is done and when, not how
//! the machine schedules it.

use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use crate::seeded_rng::SeededRng;

#[derive(Clone, Copy, Debug)]
pub(crate) struct TestConfig {
    pub(crate) is_long: bool,
    /// SIGKILLs of the service, in each test that kills it (`AEGIS_TEST_KILLS`).
    pub(crate) kills: usize,
    /// Losses of the primary of a replica set (`AEGIS_TEST_PRIMARY_LOSSES`).
    pub(crate) primary_losses: usize,
    /// Kills of the service that runs the projectors (`AEGIS_TEST_OWNER_KILLS`).
    pub(crate) projector_kills: usize,
    /// Copies of a database whose write-ahead log is damaged (`AEGIS_TEST_COPIES`).
    pub(crate) copies: usize,
}

/// `AEGIS_TEST_SEED`, the same for all tests of a run.
static SEED: LazyLock<u64> = LazyLock::new(|| {
    env_number("AEGIS_TEST_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000)
});

impl TestConfig {
    pub(crate) fn from_env() -> Self {
        let long = env_number::<u8>("AEGIS_TEST_LONG").is_some_and(|long| long > 0);
        let amount = |name, short, much| env_number(name).unwrap_or(if long { much } else { short });
        Self {
            is_long: long,
            kills: amount("AEGIS_TEST_KILLS", 3, 100),
            primary_losses: amount("AEGIS_TEST_PRIMARY_LOSSES", 6, 20),
            projector_kills: amount("AEGIS_TEST_OWNER_KILLS", 3, 24),
            copies: amount("AEGIS_TEST_COPIES", 12, 200),
        }
    }

    /// The random numbers of one test, reproducible by the seed, which is printed.
    pub(crate) fn rng(test: &str) -> SeededRng {
        let seed = *SEED;
        crate::summary::print(&format!("{test}: AEGIS_TEST_SEED={seed}"));
        SeededRng::new(seed, test)
    }

    /// The time limit of a test with this many rounds.
    pub(crate) fn timeout(times: usize) -> Duration {
        Duration::from_mins(2) + Duration::from_mins(1) * u32::try_from(times).unwrap()
    }
}

/// A number from the environment, if set.
#[expect(clippy::disallowed_methods, reason = "test runs are configured by environment variables")]
pub(crate) fn env_number<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
