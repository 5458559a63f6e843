//! The latency of an append without concurrent appends, and the throughput of concurrent ones.

use async_trait::async_trait;

use crate::benchmark::{Benchmark, Comparison, Prepared, prepared};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::Registrations;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::target::{Round, Target, median};
use crate::time_slice::TimeSlice;

/// Concurrent registrations.
const CONCURRENCY: usize = 512;

pub(crate) static APPEND_ALONE: Benchmark = Benchmark {
    name: "append_alone",
    unit: "ms",
    meaning: "one registration after the other: how long the event store takes for each; the baseline is a bare \
        transaction that writes the same documents (head, key-store entry, event)",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtMost(1.5),
    prepare: |scratch, _| Box::pin(Appends::prepare(scratch, false)),
};

pub(crate) static APPEND_GROUPED: Benchmark = Benchmark {
    name: "append_grouped",
    unit: "appends/s",
    meaning: "512 concurrent registrations with pre-hashed passwords: appends per second. The baseline on \
        mongodb is a bare insertMany of 1,000 of the same event documents at a time into a collection with \
        the same indexes; on sqlite bare inserts of the same rows (event, key store entry, claims), 1,000 \
        registrations a transaction",
    stores: StoreKind::ALL,
    target: |store| match store {
        StoreKind::Mongodb => Target::RatioAtLeast(0.28),
        StoreKind::Sqlite => Target::ValueAtLeast(20_000.0),
    },
    prepare: |scratch, _| Box::pin(Appends::prepare(scratch, true)),
};

struct Appends {
    subject: Registrations,
    raw: Box<dyn RawDriver>,
    grouped: bool,
}

impl Appends {
    async fn prepare(scratch: &ScratchDatabases, grouped: bool) -> Prepared {
        let database = scratch.database().await?;
        let subject = Registrations::open(&database).await?;
        prepared(Self { raw: raw::open(&database).await?, subject, grouped })
    }
}

#[async_trait]
impl Comparison for Appends {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        if self.grouped {
            let (written, value) = self.subject.append_concurrently(CONCURRENCY, slice).await?;
            return Ok(Round { value, baseline: self.raw.batches(written, slice).await? });
        }
        let (written, took) = self.subject.append_sequentially(slice).await?;
        let bare = self.raw.transactions(written, slice).await?;
        let middle = |took: Vec<std::time::Duration>| {
            let milliseconds = took.iter().map(|took| took.as_secs_f64() * 1000.0).collect();
            median(milliseconds).ok_or_else(|| BenchError::invalid("no append was measured"))
        };
        Ok(Round { value: middle(took)?, baseline: middle(bare)? })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
