//! `aegis bench`: what the service reaches on this machine, each figure against its own limit (the same work done by a
//! bare driver) in the same run, since absolute figures of different machines say nothing of one another.
//!
//! A figure is a [`Benchmark`]: one file, and one line in [`BENCHMARKS`]. `rounds` has subject and limit take turns, and [`result`]
//! picks the round in the middle. [`scratch`] makes scratch databases and removes them, with `mongod` and `watchdog`;
//! `registrations` is what is done to them; `raw` does the same without Aegis and is, beside the backends' own crates,
//! the only place that names a driver.
//!
//! What does not belong here: tests. A figure that misses its target is no failure.

mod append_alone;
mod append_grouped;
mod commit_to_visible;
mod export;
mod hashing;
mod mongod;
mod proof;
mod raw;
mod rebuild;
mod registrations;
pub mod result;
mod rounds;
pub mod scratch;
mod verify;
mod watchdog;

use async_trait::async_trait;
use store::StoreError;

use self::result::{BenchmarkResult, Round, Target};
use self::rounds::TimeSlice;
pub use self::rounds::{ROUNDS, Rounds};
use self::scratch::{ScratchDatabases, StoreKind};
use crate::command::CommandError;

/// All figures, in the order in which they are measured.
pub static BENCHMARKS: [&dyn Benchmark; 8] = [
    &append_alone::AppendAlone,
    &append_grouped::AppendGrouped,
    &hashing::Hashing,
    &rebuild::Rebuild,
    &commit_to_visible::CommitToVisible,
    &verify::Verify,
    &proof::Proof,
    &export::Export,
];

/// One figure: what is measured, and by what it is judged.
#[async_trait]
pub trait Benchmark: Sync {
    /// Its name, for people and programs.
    fn name(&self) -> &'static str;

    /// What value and limit are counted in.
    fn unit(&self) -> &'static str;

    /// What the value is, and what the limit is, for people.
    fn meaning(&self) -> &'static str;

    /// What it should be.
    fn target(&self, store: StoreKind) -> Target;

    /// Gets ready to measure in a place of its own. What is to be there first is made until the slice is over.
    async fn prepare(
        &self,
        scratch: &ScratchDatabases,
        slice: &TimeSlice,
    ) -> Result<Box<dyn Comparison>, BenchError>;
}

/// A subject and its limit, ready to be measured by turns.
#[async_trait]
pub trait Comparison: Send {
    /// The subject works for one slice of time, then the limit does the same work.
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError>;

    /// Ends what was begun, so that the place can be removed.
    async fn finish(self: Box<Self>);
}

/// Why a figure could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The measuring was called off.
    #[error("interrupted")]
    Interrupted,
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A command of the subject failed.
    #[error("a registration failed: {0}")]
    Command(#[from] CommandError),
    /// The bare MongoDB driver failed.
    #[error("the bare MongoDB driver failed: {0}")]
    Mongo(#[from] mongodb::error::Error),
    /// The bare SQLite library failed.
    #[error("bare SQLite failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The system refused a folder, a process or a thread.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A throwaway server does not run.
    #[error("{0}")]
    MongodUnavailable(String),
    /// What was read back is not what was written.
    #[error("measured nothing: {0}")]
    InvalidMeasurement(String),
}

impl BenchError {
    /// The system's refusal to do `what`.
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}

/// Measures one row in one scratch.
///
/// # Errors
/// [`BenchError`] if it could not be measured.
pub async fn measure(
    benchmark: &dyn Benchmark,
    scratch: &ScratchDatabases,
    rounds: &Rounds,
) -> Result<BenchmarkResult, BenchError> {
    let mut comparison = benchmark.prepare(scratch, &rounds.slice(rounds.round_duration() * ROUNDS)).await?;
    let measured = rounds.run(&mut *comparison).await;
    comparison.finish().await;
    BenchmarkResult::from_rounds(benchmark, scratch.store(), measured?)
}
