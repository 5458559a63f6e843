//! The clock of one process: simulated time with skew.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use store::Clock;
use tokio::time::Instant;

use crate::random::SeededRandom;

/// 2026-11-22, 08:00 UTC.
const START_SECOND: i64 = 1_795_334_400;

/// Simulated time, possibly skewed, and possibly set back by an hour at some point.
pub(crate) struct NodeClock {
    began: Instant,
    skew: SignedDuration,
    set_back: Option<Instant>,
}

impl NodeClock {
    pub(crate) fn new(began: Instant, random: &SeededRandom) -> Self {
        let minutes = i64::try_from(random.below(121)).unwrap() - 60;
        let skew =
            if random.permille(500) { SignedDuration::from_mins(minutes) } else { SignedDuration::ZERO };
        let set_back = random.permille(200).then(|| Instant::now() + random.millis(0..=3000));
        Self { began, skew, set_back }
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        let passed: Duration = self.began.elapsed();
        let start = Timestamp::from_second(START_SECOND).unwrap();
        let now = start + passed + self.skew;
        if self.set_back.is_some_and(|moment| moment <= Instant::now()) {
            now - SignedDuration::from_hours(1)
        } else {
            now
        }
    }
}
