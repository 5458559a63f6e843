//! How long it takes to prove that an event is in the log.

use std::time::Instant;

use async_trait::async_trait;
use store::tiles::Proofs;
use store::{Ambient, Position};

use super::figure::{Round, Target};
use super::ground::{Place, StoreKind};
use super::registrations::Registrations;
use super::rounds::Slice;
use super::{BenchError, Contest, Row};

/// How many events there are.
const EVENTS: u64 = 50_000;
/// As soon as that, in milliseconds.
const WANTED: f64 = 10.0;

pub(super) struct Proof;

#[async_trait]
impl Row for Proof {
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

    async fn prepare(&self, place: &Place, slice: &Slice) -> Result<Box<dyn Contest>, BenchError> {
        let database = place.database().await?;
        let subject = Registrations::open(&database).await?;
        subject.fill(EVENTS, slice).await?;
        let proofs = Proofs::new(subject.sources().events.clone(), subject.tiles());
        proofs.grow().await?;
        Ok(Box::new(Proving { head: subject.all().await?.until, subject, proofs }))
    }
}

struct Proving {
    subject: Registrations,
    proofs: Proofs,
    head: Position,
}

#[async_trait]
impl Contest for Proving {
    async fn round(&mut self, slice: &Slice) -> Result<Round, BenchError> {
        let ambient = Ambient::system();
        let mut took = Vec::new();
        while !slice.is_over() || took.is_empty() {
            let position = Position::new(1 + u64::from_be_bytes(ambient.bytes()) % self.head.get());
            let begun = Instant::now();
            self.proofs.inclusion(position).await.map_err(|error| BenchError::Void(error.to_string()))?;
            took.push(begun.elapsed());
        }
        slice.check()?;
        took.sort_unstable();
        let slowest = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
        Ok(Round { value: slowest.as_secs_f64() * 1000.0, limit: WANTED })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
