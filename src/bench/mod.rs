//! `aegis bench`: what the service reaches on this machine, each figure against its own limit (the same work done by a
//! bare driver) in the same run, since absolute figures of different machines say nothing of one another.
//!
//! A figure is a [`Row`]: one file, and one line in [`ROWS`]. `rounds` has subject and limit take turns, and [`figure`]
//! picks the round in the middle. [`ground`] makes scratch databases and removes them, with `mongod` and `watchdog`;
//! `registrations` is what is done to them; `raw` does the same without Aegis and is, beside the backends' own crates,
//! the only place that names a driver.
//!
//! What does not belong here: tests. A figure that misses its target is no failure.

mod append_alone;
mod append_grouped;
mod export;
pub mod figure;
pub mod ground;
mod hashing;
mod mongod;
mod proof;
mod raw;
mod rebuild;
mod registrations;
mod rounds;
mod verify;
mod visible;
mod watchdog;

use async_trait::async_trait;
use store::StoreError;

use self::figure::{Figure, Round, Target};
use self::ground::{Place, StoreKind};
use self::rounds::Slice;
pub use self::rounds::{ROUNDS, Rounds};
use crate::command::CommandError;

/// All figures, in the order in which they are measured.
pub static ROWS: [&dyn Row; 8] = [
    &append_alone::AppendAlone,
    &append_grouped::AppendGrouped,
    &hashing::Hashing,
    &rebuild::Rebuild,
    &visible::Visible,
    &verify::Verify,
    &proof::Proof,
    &export::Export,
];

/// One figure: what is measured, and by what it is judged.
#[async_trait]
pub trait Row: Sync {
    /// Its name, for people and programs.
    fn name(&self) -> &'static str;

    /// What value and limit are counted in.
    fn unit(&self) -> &'static str;

    /// What the value is, and what the limit is, for people.
    fn meaning(&self) -> &'static str;

    /// What it should be.
    fn target(&self, store: StoreKind) -> Target;

    /// Gets ready to measure in a place of its own. What is to be there first is made until the slice is over.
    async fn prepare(&self, place: &Place, slice: &Slice) -> Result<Box<dyn Contest>, BenchError>;
}

/// A subject and its limit, ready to be measured by turns.
#[async_trait]
pub trait Contest: Send {
    /// The subject works for one slice of time, then the limit does the same work.
    async fn round(&mut self, slice: &Slice) -> Result<Round, BenchError>;

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
    Server(String),
    /// What was read back is not what was written.
    #[error("measured nothing: {0}")]
    Void(String),
}

impl BenchError {
    /// The system's refusal to do `what`.
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}

/// Measures one row in one place.
///
/// # Errors
/// [`BenchError`] if it could not be measured.
pub async fn measure(row: &dyn Row, place: &Place, rounds: &Rounds) -> Result<Figure, BenchError> {
    let mut contest = row.prepare(place, &rounds.slice(rounds.each() * ROUNDS)).await?;
    let measured = rounds.run(&mut *contest).await;
    contest.finish().await;
    Figure::of(row, place.store(), measured?)
}
