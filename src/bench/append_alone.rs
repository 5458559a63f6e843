//! How long one append takes while nobody else appends.

use async_trait::async_trait;

use super::raw::{self, RawDriver};
use super::registrations::Registrations;
use super::result::{Round, Target, median};
use super::rounds::TimeSlice;
use super::scratch::{ScratchDatabases, StoreKind};
use super::{BenchError, Benchmark, Comparison};

pub(super) struct AppendAlone;

#[async_trait]
impl Benchmark for AppendAlone {
    fn name(&self) -> &'static str {
        "append_alone"
    }

    fn unit(&self) -> &'static str {
        "ms"
    }

    fn meaning(&self) -> &'static str {
        "one registration after the other: how long the event store takes for each; the limit is a bare transaction \
         that writes the same documents (head, vault entry, event)"
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
                .ok_or_else(|| BenchError::InvalidMeasurement("not a single append".to_owned()))
        };
        Ok(Round { value: middle(took)?, baseline: middle(bare)? })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
