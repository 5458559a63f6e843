//! The limits: what a bare driver needs to write the very documents, or rows, that the event store has written. They
//! are read back from where the store put them, so the two cannot drift apart; so are the indexes.
//!
//! This is no way into the database for anybody else: nothing here checks or promises anything.

mod mongo;
mod sqlite;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use store::Table;

use super::BenchError;
use super::registrations::EventRange;
use super::rounds::TimeSlice;
use super::scratch::ScratchDatabase;
use crate::config::DatabaseSettings;

/// How many events, or registrations, one batch holds.
const BATCH: usize = 1000;

/// A bare driver beside an event store.
#[async_trait]
pub(super) trait RawDriver: Send {
    /// Writes them again, in batches of a thousand, one batch at a time; gives how many a second.
    async fn batches(&mut self, written: EventRange, slice: &TimeSlice) -> Result<f64, BenchError>;

    /// Writes them again, each in a transaction of its own together with what else its append wrote; gives how long
    /// each took.
    async fn transactions(
        &mut self,
        written: EventRange,
        slice: &TimeSlice,
    ) -> Result<Vec<Duration>, BenchError>;

    /// Reads them once, and does nothing with them; gives how many a second.
    async fn read(&mut self, written: EventRange, slice: &TimeSlice) -> Result<f64, BenchError>;

    /// Writes the rows of a read model again, a thousand at a time, into a table of its own; gives how many there are,
    /// and how many it wrote a second.
    async fn rows(&mut self, table: &Table, slice: &TimeSlice) -> Result<(usize, f64), BenchError>;
}

/// A bare driver beside the event store in a scratch database, which must have been opened once.
pub(super) async fn open(scratch: &ScratchDatabase) -> Result<Box<dyn RawDriver>, BenchError> {
    Ok(match scratch.settings() {
        DatabaseSettings::Mongo { url, name } => Box::new(mongo::RawMongo::new(url.expose(), name).await?),
        DatabaseSettings::Embedded { data_dir } => Box::new(sqlite::RawSqlite::new(data_dir).await?),
    })
}

/// How many a second, if all of them were there.
fn rate(written: EventRange, found: usize, begun: Instant) -> Result<f64, BenchError> {
    let took = begun.elapsed().as_secs_f64();
    let found = u32::try_from(found).ok().filter(|found| u64::from(*found) == written.events());
    let Some(found) = found else {
        let events = written.events();
        return Err(BenchError::InvalidMeasurement(format!(
            "not all of the {events} events were found again"
        )));
    };
    Ok(f64::from(found) / took)
}

/// How many a second, and how many that are.
fn counted(count: usize, begun: Instant) -> (usize, f64) {
    let all = u32::try_from(count).unwrap_or(u32::MAX);
    (count, f64::from(all) / begun.elapsed().as_secs_f64())
}
