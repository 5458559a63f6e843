//! How long it takes to prove that an event is in the log.

use std::time::Instant;

use async_trait::async_trait;
use store::tiles::Proofs;
use store::{Env, Position};

use super::registrations::Registrations;
use super::result::{Round, Target};
use super::rounds::TimeSlice;
use super::scratch::{ScratchDatabases, StoreKind};
use super::{BenchError, Benchmark, Comparison};

/// How many events there are.
const LOG_SIZE: u64 = 50_000;
/// As soon as that, in milliseconds.
const PROMISED_MS: f64 = 10.0;

pub(super) struct Proof;

#[async_trait]
impl Benchmark for Proof {
    fn name(&self) -> &'static str {
        "proof"
    }

    fn unit(&self) -> &'static str {
        "ms"
    }

    fn meaning(&self) -> &'static str {
        "the proof that an event at a random position is in a log of 50,000 registrations (fewer where SECONDS are too few \
         to make them), one after the other, of which the slowest of a hundred (p99) counts; the limit is the 10 ms that \
         are promised"
    }

    fn target(&self, _: StoreKind) -> Target {
        Target::RatioAtMost(1.0)
    }

    async fn prepare(
        &self,
        scratch: &ScratchDatabases,
        slice: &TimeSlice,
    ) -> Result<Box<dyn Comparison>, BenchError> {
        let database = scratch.database().await?;
        let subject = Registrations::open(&database).await?;
        subject.fill(LOG_SIZE, slice).await?;
        let proofs = Proofs::new(subject.sources().events.clone(), subject.tiles());
        proofs.extend_tiles().await?;
        Ok(Box::new(Proving { head: subject.whole_log().await?.until, subject, proofs }))
    }
}

struct Proving {
    subject: Registrations,
    proofs: Proofs,
    head: Position,
}

#[async_trait]
impl Comparison for Proving {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let env = Env::system();
        let mut took = Vec::new();
        while !slice.is_over() || took.is_empty() {
            let position = Position::new(1 + u64::from_be_bytes(env.bytes()) % self.head.get());
            let begun = Instant::now();
            self.proofs
                .inclusion(position)
                .await
                .map_err(|error| BenchError::InvalidMeasurement(error.to_string()))?;
            took.push(begun.elapsed());
        }
        slice.check()?;
        took.sort_unstable();
        let slowest = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
        Ok(Round { value: slowest.as_secs_f64() * 1000.0, baseline: PROMISED_MS })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
