//! Runs the rounds of a benchmark. The speed of a machine varies from second to second, so subject and
//! baseline alternate, and several rounds are measured.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::benchmark::{Benchmark, Comparison};
use crate::error::BenchError;
use crate::result::BenchmarkResult;
use crate::scratch::ScratchDatabases;
use crate::target::Round;
use crate::time_slice::TimeSlice;

/// How many rounds are measured: an odd number, so that there is a median.
const ROUNDS: u32 = 11;
/// The same in a quick run.
const QUICK_ROUNDS: u32 = 5;
/// How long each subject works in a quick run: all of them, their baselines and preparations take less than two minutes.
const QUICK: Duration = Duration::from_millis(500);

/// How the rounds of each benchmark are run.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    count: u32,
    /// How long the subject works in each round.
    round_duration: Duration,
    /// Cancelled when the benchmark is interrupted.
    stop: CancellationToken,
}

impl Rounds {
    /// Rounds in which each subject works for `total` altogether. Cancelling `stop` interrupts the benchmark.
    pub(crate) fn new(total: Duration, stop: CancellationToken) -> Self {
        Self { count: ROUNDS, round_duration: total / ROUNDS, stop }
    }

    /// Fewer and shorter rounds, whose results vary more.
    pub(crate) fn quick(stop: CancellationToken) -> Self {
        Self { count: QUICK_ROUNDS, round_duration: QUICK / QUICK_ROUNDS, stop }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn round_duration(&self) -> Duration {
        self.round_duration
    }

    /// Measures one benchmark in one set of scratch databases.
    pub(crate) async fn measure(
        &self,
        benchmark: &Benchmark,
        scratch: &ScratchDatabases,
    ) -> Result<BenchmarkResult, BenchError> {
        let mut comparison =
            (benchmark.prepare)(scratch, &self.slice(self.round_duration * self.count)).await?;
        let measured = self.run(&mut *comparison).await;
        comparison.finish().await;
        BenchmarkResult::from_rounds(benchmark, scratch.store(), measured?)
    }

    /// Runs the rounds, after a short one that is not counted: it opens connections and fills caches.
    async fn run(&self, comparison: &mut dyn Comparison) -> Result<Vec<Round>, BenchError> {
        comparison.round(&self.slice(self.round_duration / 4)).await?;
        let mut rounds = Vec::new();
        for _ in 0..self.count {
            rounds.push(comparison.round(&self.slice(self.round_duration)).await?);
        }
        Ok(rounds)
    }

    fn slice(&self, length: Duration) -> TimeSlice {
        TimeSlice::new(length, self.stop.clone())
    }
}
