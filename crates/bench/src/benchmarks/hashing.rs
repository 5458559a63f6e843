//! The share of an append that makes the log verifiable.

use std::time::Instant;

use async_trait::async_trait;
use store::canonical::canonical_event;
use store::checkpoint::Signer;
use store::merkle::{Frontier, leaf_hash};
use store::{Env, Envelope, EventQuery};

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::registrations::{EventRange, Registrations};
use crate::scratch::StoreKind;
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

/// Concurrent registrations, which is also the maximum size of a batch.
const CONCURRENCY: usize = 512;
/// Events per signed head: fewer than batches hold at that concurrency.
const SIGNED_TOGETHER: usize = 128;

pub(crate) static HASHING: Benchmark = Benchmark {
    name: "hashing",
    unit: "us",
    meaning: "the time per event to compute its canonical form, its leaf, the root over all, and a signed head \
         for every 128 events; the baseline is the time per append with 512 concurrent registrations",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtMost(0.1),
    prepare: |scratch, _| {
        Box::pin(async move {
            prepared(HashingComparison(Registrations::open(&scratch.database().await?).await?))
        })
    },
};

struct HashingComparison(Registrations);

#[async_trait]
impl Comparison for HashingComparison {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let (written, rate) = self.0.append_concurrently(CONCURRENCY, slice).await?;
        let value = hashed(&self.events(written).await?)?;
        Ok(Round { value, baseline: 1e6 / rate })
    }

    async fn finish(self: Box<Self>) {
        self.0.close().await;
    }
}

impl HashingComparison {
    async fn events(&self, written: EventRange) -> Result<Vec<Envelope>, BenchError> {
        let limit = usize::try_from(written.events()).unwrap_or(usize::MAX);
        let query =
            EventQuery { after: written.after, until: Some(written.until), limit, ..EventQuery::default() };
        let events = self.0.sources().events.read(&query).await?;
        Ok(events.into_iter().map(|event| event.envelope).collect())
    }
}

/// Computes everything again; returns the microseconds per event.
fn hashed(events: &[Envelope]) -> Result<f64, BenchError> {
    let env = Env::system();
    let signer = Signer::new(env.uuid(), &env.bytes()).map_err(BenchError::invalid)?;
    let mut frontier = Frontier::default();
    let begun = Instant::now();
    for batch in events.chunks(SIGNED_TOGETHER) {
        for event in batch {
            let leaf = leaf_hash(&canonical_event(event).map_err(BenchError::invalid)?);
            if leaf != event.leaf {
                return Err(BenchError::InvalidMeasurement(format!(
                    "position {} has a different leaf",
                    event.position
                )));
            }
            frontier.push(leaf);
        }
        drop(signer.sign(frontier.size(), &frontier.root()));
    }
    let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(count.max(1)))
}
