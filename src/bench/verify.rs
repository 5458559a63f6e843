//! How fast a log is proved.

use std::time::Instant;

use async_trait::async_trait;
use store::VerifyError;
use store::tiles::Proofs;

use super::figure::{Round, Target};
use super::ground::{Place, StoreKind};
use super::raw::{self, Raw};
use super::registrations::{Registrations, Written};
use super::rounds::Slice;
use super::{BenchError, Contest, Row};
use crate::query::claims_of;

/// How many events there are.
const EVENTS: u64 = 50_000;

pub(super) struct Verify;

#[async_trait]
impl Row for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn unit(&self) -> &'static str {
        "events/s"
    }

    fn meaning(&self) -> &'static str {
        "`events verify` over a log of 50,000 registrations (fewer where SECONDS are too few to make them): every hash, \
         seal, version and claim, the tiles, the root and the signature; the limit is the bare driver, reading the same events and \
         doing nothing with them"
    }

    fn target(&self, _: StoreKind) -> Target {
        Target::ValueAtLeast(100_000.0)
    }

    async fn prepare(&self, place: &Place, slice: &Slice) -> Result<Box<dyn Contest>, BenchError> {
        let database = place.database().await?;
        let subject = Registrations::open(&database).await?;
        subject.fill(EVENTS, slice).await?;
        let written = subject.all().await?;
        let proofs = Proofs::new(subject.sources().events.clone(), subject.tiles());
        proofs.grow().await?;
        Ok(Box::new(Verifying { raw: raw::beside(&database).await?, subject, proofs, written }))
    }
}

struct Verifying {
    subject: Registrations,
    proofs: Proofs,
    raw: Box<dyn Raw>,
    written: Written,
}

#[async_trait]
impl Contest for Verifying {
    async fn round(&mut self, slice: &Slice) -> Result<Round, BenchError> {
        slice.check()?;
        let begun = Instant::now();
        let verified = self.proofs.verify(claims_of, None, &mut |_, _| {}).await;
        verified.map_err(|error| match error {
            VerifyError::Store(error) => error.into(),
            found @ VerifyError::Found(_) => BenchError::Void(found.to_string()),
        })?;
        let took = begun.elapsed().as_secs_f64();
        let events = u32::try_from(self.written.events()).unwrap_or(u32::MAX);
        let limit = self.raw.read(self.written, slice).await?;
        Ok(Round { value: f64::from(events) / took, limit })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
