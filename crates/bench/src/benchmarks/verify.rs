//! The throughput of verification.

use std::time::Instant;

use aegis::query::claim_change;
use async_trait::async_trait;
use store::VerifyError;
use store::tiles::Proofs;

use crate::benchmark::{Benchmark, Comparison};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::{EventRange, Registrations};
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

/// The number of events in the log.
const LOG_SIZE: u64 = 50_000;

pub(crate) struct Verify;

#[async_trait]
impl Benchmark for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn unit(&self) -> &'static str {
        "events/s"
    }

    fn meaning(&self) -> &'static str {
        "`events verify` over a log of 50,000 registrations (fewer if SECONDS are too few to create them): \
         every hash, ciphertext, version and claim, the tiles, the root and the signature; the baseline is \
         the bare driver, which reads the same events and discards them"
    }

    fn target(&self, _: StoreKind) -> Target {
        Target::ValueAtLeast(100_000.0)
    }

    async fn prepare(
        &self,
        scratch: &ScratchDatabases,
        slice: &TimeSlice,
    ) -> Result<Box<dyn Comparison>, BenchError> {
        let database = scratch.database().await?;
        let subject = Registrations::open(&database).await?;
        subject.fill(LOG_SIZE, slice).await?;
        let written = subject.whole_log().await?;
        let proofs = Proofs::new(subject.sources().events.clone(), subject.tiles());
        proofs.extend_tiles().await?;
        Ok(Box::new(Verifying { raw: raw::open(&database).await?, subject, proofs, written }))
    }
}

struct Verifying {
    subject: Registrations,
    proofs: Proofs,
    raw: Box<dyn RawDriver>,
    written: EventRange,
}

#[async_trait]
impl Comparison for Verifying {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        slice.check()?;
        let begun = Instant::now();
        let verified = self.proofs.verify(claim_change, None, &mut |_, _| {}).await;
        verified.map_err(|error| match error {
            VerifyError::Store(error) => error.into(),
            found @ VerifyError::Found(_) => BenchError::InvalidMeasurement(found.to_string()),
        })?;
        let took = begun.elapsed().as_secs_f64();
        let events = u32::try_from(self.written.events()).unwrap_or(u32::MAX);
        let baseline = self.raw.read(self.written, slice).await?;
        Ok(Round { value: f64::from(events) / took, baseline })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
