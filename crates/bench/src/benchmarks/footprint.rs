//! The size of the service on disk, and in memory while it is idle.

use async_trait::async_trait;

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::scratch::{ScratchDatabase, StoreKind};
use crate::serve_process::{ServeProcess, executable};
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

const PROMISED_MB: f64 = 30.0;

pub(crate) static BINARY_SIZE: Benchmark = Benchmark {
    name: "binary_size",
    unit: "MB",
    meaning: "the executable `aegis` beside this one, without symbols if both are from a release build; the baseline is \
         the promised 30 MB",
    stores: &[StoreKind::Sqlite],
    target: |_| Target::RatioAtMost(1.0),
    prepare: |_, _| Box::pin(async { prepared(BinarySize) }),
};

pub(crate) static IDLE_MEMORY: Benchmark = Benchmark {
    name: "idle_memory",
    unit: "MB",
    meaning: "resident memory of that `aegis serve` on an empty database, once it is ready; the baseline is the promised \
         30 MB",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtMost(1.0),
    prepare: |scratch, _| {
        Box::pin(async move { prepared(IdleMemory { database: scratch.database().await?, process: None }) })
    },
};

struct BinarySize;

#[async_trait]
impl Comparison for BinarySize {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        slice.check()?;
        let size = tokio::fs::metadata(executable()?).await;
        let size = size.map_err(BenchError::io("reading the size of aegis"))?.len();
        let size = f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        Ok(Round { value: size / 1e6, baseline: PROMISED_MB })
    }

    async fn finish(self: Box<Self>) {}
}

struct IdleMemory {
    database: ScratchDatabase,
    process: Option<ServeProcess>,
}

#[async_trait]
impl Comparison for IdleMemory {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        slice.check()?;
        let process = match self.process.take() {
            Some(running) => running,
            None => ServeProcess::start(&self.database).await?,
        };
        let value = self.process.insert(process).resident_mb()?;
        while !slice.is_over() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Ok(Round { value, baseline: PROMISED_MB })
    }

    async fn finish(self: Box<Self>) {}
}
