//! The latency of an inclusion proof.

use std::time::Instant;

use async_trait::async_trait;
use store::tiles::Proofs;
use store::{Env, Position};

use crate::benchmark::{Benchmark, Comparison};
use crate::error::BenchError;
use crate::registrations::Registrations;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

/// The number of events in the log.
const LOG_SIZE: u64 = 50_000;
/// The promised latency, in milliseconds.
const PROMISED_MS: f64 = 10.0;

pub(crate) struct Proof;

#[async_trait]
impl Benchmark for Proof {
    fn name(&self) -> &'static str {
        "proof"
    }

    fn unit(&self) -> &'static str {
        "ms"
    }

    fn meaning(&self) -> &'static str {
        "inclusion proofs of random positions in a log of 50,000 registrations (fewer if SECONDS are too \
         few to create them), one after the other (p99); the baseline is the promised 10 ms"
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
