//! The throughput of a rebuild of a read model.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use projections::{Projection, ProjectionContext, ProjectionHandle, ProjectionRunner, Users, lifecycle};
use store::{Env, ProjectionVersions};

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::Registrations;
use crate::scratch::StoreKind;
use crate::target::{Round, Target, per_second};
use crate::time_slice::TimeSlice;

pub(crate) static REBUILD: Benchmark = Benchmark {
    name: "rebuild",
    unit: "rows/s",
    meaning: "`users` is rebuilt from a log of 50,000 registrations (fewer if SECONDS are too few to create \
         them), from the command to the cutover; the baseline is bare inserts of the same rows, 1,000 at a \
         time, into a table with the same indexes",
    stores: StoreKind::ALL,
    target: |store| match store {
        StoreKind::Mongodb => Target::RatioAtLeast(0.5),
        // Bare inserts are about three times as fast as on MongoDB, so this is at least as many rows per
        // second.
        StoreKind::Sqlite => Target::RatioAtLeast(0.2),
    },
    prepare: |scratch, slice| {
        Box::pin(async move {
            let (database, subject) = Registrations::filled(scratch, slice).await?;
            let sources = subject.sources().clone();
            lifecycle::open(&Users, &sources, "bench", Env::system().now()).await?;
            let runner = ProjectionRunner::new(&[&Users], sources, Env::system(), "bench").start();
            prepared(Rebuilding { raw: raw::open(&database).await?, subject, runner })
        })
    },
};

struct Rebuilding {
    subject: Registrations,
    raw: Box<dyn RawDriver>,
    runner: ProjectionHandle,
}

/// Rebuilds `users` while its projector runs; returns the number of the version, and how long it took.
pub(crate) async fn rebuild(sources: &ProjectionContext) -> Result<(u64, Duration), BenchError> {
    let begun = Instant::now();
    let now = Env::system().now();
    let building = lifecycle::rebuild(&Users, sources, "bench", now).await.map_err(BenchError::invalid)?;
    let number = building.last;
    until(sources, |versions| versions.live == number).await?;
    Ok((number, begun.elapsed()))
}

/// Waits until the versions satisfy the condition.
async fn until(
    sources: &ProjectionContext,
    wanted: impl Fn(&ProjectionVersions) -> bool,
) -> Result<(), BenchError> {
    let mut updates = sources.events.watch_progress();
    let so = updates
        .wait_for(|progress| progress.versions.get(Users.name()).is_some_and(|versions| wanted(versions)));
    so.await.map_err(|_| BenchError::InvalidMeasurement("the event store was closed".to_owned()))?;
    Ok(())
}

#[async_trait]
impl Comparison for Rebuilding {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        slice.check()?;
        let (number, took) = rebuild(self.subject.sources()).await?;
        // Previous versions stay: without appends they cost nothing.
        let users: &dyn Projection = &Users;
        let (rows, baseline) = self.raw.rows(&users.table(number), slice).await?;
        Ok(Round { value: per_second(u64::try_from(rows).unwrap_or_default(), took), baseline })
    }

    async fn finish(self: Box<Self>) {
        self.runner.stop().await;
        self.subject.close().await;
    }
}
