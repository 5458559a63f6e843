//! The throughput of verification.

use std::time::Instant;

use aegis::query::claim_change;
use async_trait::async_trait;
use store::VerifyError;
use store::tiles::Proofs;

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::{EventRange, Registrations};
use crate::scratch::StoreKind;
use crate::target::{Round, Target, per_second};
use crate::time_slice::TimeSlice;

pub(crate) static VERIFY: Benchmark = Benchmark {
    name: "verify",
    unit: "events/s",
    meaning: "`events verify` over a log of 50,000 registrations (fewer if SECONDS are too few to create them): \
         every hash, ciphertext, version and claim, the tiles, the root and the signature; the baseline is \
         the bare driver, which reads the same events and discards them",
    stores: StoreKind::ALL,
    target: |_| Target::ValueAtLeast(100_000.0),
    prepare: |scratch, slice| {
        Box::pin(async move {
            let (database, subject) = Registrations::filled(scratch, slice).await?;
            let written = subject.whole_log().await?;
            let proofs = Proofs::new(subject.sources().events.clone(), subject.tiles());
            proofs.extend_tiles().await?;
            prepared(Verifying { raw: raw::open(&database).await?, subject, proofs, written })
        })
    },
};

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
        let took = begun.elapsed();
        let baseline = self.raw.read(self.written, slice).await?;
        Ok(Round { value: per_second(self.written.events(), took), baseline })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
