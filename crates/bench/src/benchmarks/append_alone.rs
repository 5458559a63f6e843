//! The latency of an append without concurrent appends.

use async_trait::async_trait;

use crate::benchmark::{Benchmark, Comparison};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::Registrations;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::target::{Round, Target, median};
use crate::time_slice::TimeSlice;

pub(crate) struct AppendAlone;

#[async_trait]
impl Benchmark for AppendAlone {
    fn name(&self) -> &'static str {
        "append_alone"
    }

    fn unit(&self) -> &'static str {
        "ms"
    }

    fn meaning(&self) -> &'static str {
        "one registration after the other: how long the event store takes for each; the baseline is a bare \
         transaction that writes the same documents (head, key-store entry, event)"
    }

    fn target(&self, _: StoreKind) -> Target {
        Target::RatioAtMost(1.5)
    }

    async fn prepare(
        &self,
        scratch: &ScratchDatabases,
        _: &TimeSlice,
    ) -> Result<Box<dyn Comparison>, BenchError> {
        let database = scratch.database().await?;
        let subject = Registrations::open(&database).await?;
        Ok(Box::new(SequentialAppends { raw: raw::open(&database).await?, subject }))
    }
}

struct SequentialAppends {
    subject: Registrations,
    raw: Box<dyn RawDriver>,
}

#[async_trait]
impl Comparison for SequentialAppends {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let (written, took) = self.subject.append_sequentially(slice).await?;
        let bare = self.raw.transactions(written, slice).await?;
        let middle = |took: Vec<std::time::Duration>| {
            let milliseconds = took.iter().map(|took| took.as_secs_f64() * 1000.0).collect();
            median(milliseconds)
                .ok_or_else(|| BenchError::InvalidMeasurement("no append was measured".to_owned()))
        };
        Ok(Round { value: middle(took)?, baseline: middle(bare)? })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
