//! Turns. A machine is never quite the same from one second to the next, so subject and limit are measured close
//! together and several times.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::result::Round;
use super::{BenchError, Comparison};

/// How many rounds count: an odd number, so that one of them is in the middle.
pub const ROUNDS: u32 = 11;

/// How the rounds of each figure are run.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// How long the subject works in each.
    round_duration: Duration,
    /// Cancelled when the measuring is called off.
    stop: CancellationToken,
}

impl Rounds {
    /// Rounds in which each subject works for `total` in all. Cancelling `stop` calls the measuring off.
    #[must_use]
    pub fn new(total: Duration, stop: CancellationToken) -> Self {
        Self { round_duration: total / ROUNDS, stop }
    }

    /// How long the subject works in each round.
    #[must_use]
    pub fn round_duration(&self) -> Duration {
        self.round_duration
    }

    /// Runs them, after a short one that does not count: connections are made in it, and caches filled.
    pub(super) async fn run(&self, comparison: &mut dyn Comparison) -> Result<Vec<Round>, BenchError> {
        comparison.round(&self.slice(self.round_duration / 4)).await?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(comparison.round(&self.slice(self.round_duration)).await?);
        }
        Ok(rounds)
    }

    pub(super) fn slice(&self, length: Duration) -> TimeSlice {
        TimeSlice { end: Instant::now() + length, stop: self.stop.clone() }
    }
}

/// The time that a subject has in one round.
#[derive(Clone, Debug)]
pub struct TimeSlice {
    end: Instant,
    stop: CancellationToken,
}

impl TimeSlice {
    /// Whether the time is up, or the measuring was called off.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stop.is_cancelled() || Instant::now() >= self.end
    }

    /// Goes on unless the measuring was called off.
    ///
    /// # Errors
    /// [`BenchError::Interrupted`] if it was.
    pub fn check(&self) -> Result<(), BenchError> {
        if self.stop.is_cancelled() { Err(BenchError::Interrupted) } else { Ok(()) }
    }
}
