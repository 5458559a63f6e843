//! The latency of an inclusion proof.

use std::time::Instant;

use async_trait::async_trait;
use store::tiles::Proofs;
use store::{Env, Position};

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::registrations::Registrations;
use crate::scratch::StoreKind;
use crate::target::{Round, Target, p99_ms};
use crate::time_slice::TimeSlice;

/// The promised latency, in milliseconds.
const PROMISED_MS: f64 = 10.0;

pub(crate) static PROOF: Benchmark = Benchmark {
    name: "proof",
    unit: "ms",
    meaning: "inclusion proofs of random positions in a log of 50,000 registrations (fewer if SECONDS are too \
         few to create them), one after the other (p99); the baseline is the promised 10 ms",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtMost(1.0),
    prepare: |scratch, slice| {
        Box::pin(async move {
            let (_, subject) = Registrations::filled(scratch, slice).await?;
            let proofs = Proofs::new(subject.sources().events.clone(), subject.tiles());
            proofs.extend_tiles().await?;
            prepared(Proving { head: subject.whole_log().await?.until, subject, proofs })
        })
    },
};

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
            self.proofs.inclusion(position).await.map_err(BenchError::invalid)?;
            took.push(begun.elapsed());
        }
        slice.check()?;
        Ok(Round { value: p99_ms(took), baseline: PROMISED_MS })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
