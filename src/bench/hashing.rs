//! Which part of an append goes into making the log verifiable.

use std::time::Instant;

use async_trait::async_trait;
use store::canonical::canonical_event;
use store::checkpoint::Signer;
use store::merkle::{Frontier, leaf_hash};
use store::{Ambient, Envelope, EventQuery};

use super::figure::{Round, Target};
use super::ground::{Place, StoreKind};
use super::registrations::{Registrations, Written};
use super::rounds::Slice;
use super::{BenchError, Contest, Row};

/// How many registrations are under way at any time, and how many of them go into one batch at most.
const IN_FLIGHT: usize = 512;
/// The head is signed once for so many: fewer than batches hold while so many are under way.
const SIGNED_TOGETHER: usize = 128;

pub(super) struct Hashing;

#[async_trait]
impl Row for Hashing {
    fn name(&self) -> &'static str {
        "hashing"
    }

    fn unit(&self) -> &'static str {
        "us"
    }

    fn meaning(&self) -> &'static str {
        "what it takes for each event to make its canonical form, its leaf, the root over all, and a signed head for every \
         128 events; the limit is the time that an append of such an event takes with 512 under way, all in all"
    }

    fn target(&self, _: StoreKind) -> Target {
        Target::RatioAtMost(0.1)
    }

    async fn prepare(&self, place: &Place, _: &Slice) -> Result<Box<dyn Contest>, BenchError> {
        Ok(Box::new(Appending(Registrations::open(&place.database().await?).await?)))
    }
}

struct Appending(Registrations);

#[async_trait]
impl Contest for Appending {
    async fn round(&mut self, slice: &Slice) -> Result<Round, BenchError> {
        let (written, rate) = self.0.in_flight(IN_FLIGHT, slice).await?;
        let value = hashed(&self.events(written).await?)?;
        Ok(Round { value, limit: 1e6 / rate })
    }

    async fn finish(self: Box<Self>) {
        self.0.close().await;
    }
}

impl Appending {
    async fn events(&self, written: Written) -> Result<Vec<Envelope>, BenchError> {
        let limit = usize::try_from(written.events()).unwrap_or(usize::MAX);
        let query =
            EventQuery { after: written.after, until: Some(written.until), limit, ..EventQuery::default() };
        let events = self.0.sources().events.read(&query).await?;
        Ok(events.into_iter().map(|event| event.envelope).collect())
    }
}

/// Does it all again; gives the microseconds for each event.
fn hashed(events: &[Envelope]) -> Result<f64, BenchError> {
    let void = |error: &dyn std::fmt::Display| BenchError::Void(error.to_string());
    let ambient = Ambient::system();
    let signer = Signer::new(ambient.uuid(), &ambient.bytes()).map_err(|error| void(&error))?;
    let mut frontier = Frontier::default();
    let begun = Instant::now();
    for batch in events.chunks(SIGNED_TOGETHER) {
        for event in batch {
            let leaf = leaf_hash(&canonical_event(event).map_err(|error| void(&error))?);
            if leaf != event.leaf {
                return Err(BenchError::Void(format!("position {} has another leaf", event.position)));
            }
            frontier.push(leaf);
        }
        drop(signer.sign(frontier.size(), &frontier.root()));
    }
    let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(count.max(1)))
}
