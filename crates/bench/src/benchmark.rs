//! What is measured, and the target that it is compared with.

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::error::BenchError;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

pub(crate) struct Benchmark {
    pub(crate) name: &'static str,
    /// The unit of value and baseline.
    pub(crate) unit: &'static str,
    /// What the value and the baseline are, for people.
    pub(crate) meaning: &'static str,
    /// Where there is something to measure.
    pub(crate) stores: &'static [StoreKind],
    pub(crate) target: fn(StoreKind) -> Target,
    /// Creates the databases that the benchmark needs, and fills them until the slice is over.
    pub(crate) prepare: for<'a> fn(&'a ScratchDatabases, &'a TimeSlice) -> BoxFuture<'a, Prepared>,
}

pub(crate) type Prepared = Result<Box<dyn Comparison>, BenchError>;

/// A subject and its baseline, ready to be measured in turn.
#[async_trait]
pub(crate) trait Comparison: Send {
    /// The subject works for one time slice, then the baseline does the same work.
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError>;

    /// Stops what was started, so that the scratch databases can be removed.
    async fn finish(self: Box<Self>);
}

#[expect(clippy::unnecessary_wraps, reason = "the last expression of every fallible preparation")]
pub(crate) fn prepared(comparison: impl Comparison + 'static) -> Prepared {
    Ok(Box::new(comparison))
}
