//! The throughput of concurrent appends.

use async_trait::async_trait;

use crate::benchmark::{Benchmark, Comparison};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::Registrations;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

/// Concurrent registrations.
const CONCURRENCY: usize = 512;

pub(crate) struct AppendGrouped;

#[async_trait]
impl Benchmark for AppendGrouped {
    fn name(&self) -> &'static str {
        "append_grouped"
    }

    fn unit(&self) -> &'static str {
        "appends/s"
    }

    fn meaning(&self) -> &'static str {
        "512 concurrent registrations with pre-hashed passwords: appends per second. The baseline on \
         mongodb is a bare insertMany of 1,000 of the same event documents at a time into a collection with \
         the same indexes; on sqlite bare inserts of the same rows (event, key store entry, claims), 1,000 \
         registrations a transaction"
    }

    fn target(&self, store: StoreKind) -> Target {
        match store {
            StoreKind::Mongodb => Target::RatioAtLeast(0.28),
            StoreKind::Sqlite => Target::ValueAtLeast(20_000.0),
        }
    }

    async fn prepare(
        &self,
        scratch: &ScratchDatabases,
        _: &TimeSlice,
    ) -> Result<Box<dyn Comparison>, BenchError> {
        let database = scratch.database().await?;
        let subject = Registrations::open(&database).await?;
        Ok(Box::new(ConcurrentAppends { raw: raw::open(&database).await?, subject }))
    }
}

struct ConcurrentAppends {
    subject: Registrations,
    raw: Box<dyn RawDriver>,
}

#[async_trait]
impl Comparison for ConcurrentAppends {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let (written, value) = self.subject.append_concurrently(CONCURRENCY, slice).await?;
        let baseline = self.raw.batches(written, slice).await?;
        Ok(Round { value, baseline })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
