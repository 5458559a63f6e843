//! The port that every benchmark implements.

use async_trait::async_trait;

use crate::error::BenchError;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

/// What is measured, and the target that it is compared with.
#[async_trait]
pub(crate) trait Benchmark: Sync {
    fn name(&self) -> &'static str;

    /// The unit of value and baseline.
    fn unit(&self) -> &'static str;

    /// What the value and the baseline are, for people.
    fn meaning(&self) -> &'static str;

    fn target(&self, store: StoreKind) -> Target;

    /// Creates the databases that the benchmark needs, and fills them until the slice is over.
    async fn prepare(
        &self,
        scratch: &ScratchDatabases,
        slice: &TimeSlice,
    ) -> Result<Box<dyn Comparison>, BenchError>;
}

/// A subject and its baseline, ready to be measured in turn.
#[async_trait]
pub(crate) trait Comparison: Send {
    /// The subject works for one time slice, then the baseline does the same work.
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError>;

    /// Stops what was started, so that the scratch databases can be removed.
    async fn finish(self: Box<Self>);
}
