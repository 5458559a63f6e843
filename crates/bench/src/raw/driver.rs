//! What a bare driver is measured with.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use store::Table;

use crate::error::BenchError;
use crate::registrations::EventRange;
use crate::time_slice::TimeSlice;

/// How many events, or registrations, one batch holds.
pub(super) const BATCH: usize = 1000;

/// A bare driver on the database of an event store.
#[async_trait]
pub(crate) trait RawDriver: Send {
    /// Writes the events again, in batches of [`BATCH`], one batch at a time; returns events per second.
    async fn batches(&mut self, written: EventRange, slice: &TimeSlice) -> Result<f64, BenchError>;

    /// Writes the events again, each in a transaction of its own with everything else that its append wrote;
    /// returns how long each took.
    async fn transactions(
        &mut self,
        written: EventRange,
        slice: &TimeSlice,
    ) -> Result<Vec<Duration>, BenchError>;

    /// Reads the events once and discards them; returns events per second.
    async fn read(&mut self, written: EventRange, slice: &TimeSlice) -> Result<f64, BenchError>;

    /// Writes the rows of a read model again, in batches of [`BATCH`], into a table of its own; returns the
    /// number of rows, and rows per second.
    async fn rows(&mut self, table: &Table, slice: &TimeSlice) -> Result<(usize, f64), BenchError>;
}

/// Events per second, provided that all of them were found.
pub(super) fn rate(written: EventRange, found: usize, begun: Instant) -> Result<f64, BenchError> {
    let took = begun.elapsed().as_secs_f64();
    let found = u32::try_from(found).ok().filter(|found| u64::from(*found) == written.events());
    let Some(found) = found else {
        let events = written.events();
        return Err(BenchError::InvalidMeasurement(format!("some of the {events} events were not found")));
    };
    Ok(f64::from(found) / took)
}

/// The count, and the rate per second.
pub(super) fn counted(count: usize, begun: Instant) -> (usize, f64) {
    let all = u32::try_from(count).unwrap_or(u32::MAX);
    (count, f64::from(all) / begun.elapsed().as_secs_f64())
}
