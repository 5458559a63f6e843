//! How fast a read model is made anew.

use std::time::Instant;

use async_trait::async_trait;
use projections::{Projection, ProjectionContext, ProjectionHandle, ProjectionRunner, Users, lifecycle};
use store::{Env, ProjectionVersions};

use super::raw::{self, RawDriver};
use super::registrations::Registrations;
use super::result::{Round, Target};
use super::rounds::TimeSlice;
use super::scratch::{ScratchDatabases, StoreKind};
use super::{BenchError, Benchmark, Comparison};

/// How many rows there are.
const LOG_SIZE: u64 = 50_000;

pub(super) struct Rebuild;

#[async_trait]
impl Benchmark for Rebuild {
    fn name(&self) -> &'static str {
        "rebuild"
    }

    fn unit(&self) -> &'static str {
        "rows/s"
    }

    fn meaning(&self) -> &'static str {
        "`users` is made anew from a log of 50,000 registrations (fewer where SECONDS are too few to make them), from the \
         command to the moment it is read; the limit is bare inserts of the same rows, 1,000 at a time, into a table with the same indexes"
    }

    fn target(&self, store: StoreKind) -> Target {
        match store {
            StoreKind::Mongodb => Target::RatioAtLeast(0.5),
            // Bare inserts are about three times as fast as MongoDB's, so this is no fewer rows a second.
            StoreKind::Sqlite => Target::RatioAtLeast(0.2),
        }
    }

    async fn prepare(
        &self,
        scratch: &ScratchDatabases,
        slice: &TimeSlice,
    ) -> Result<Box<dyn Comparison>, BenchError> {
        let database = scratch.database().await?;
        let subject = Registrations::open(&database).await?;
        subject.fill(LOG_SIZE, slice).await?;
        let sources = subject.sources().clone();
        lifecycle::open(&Users, &sources, "bench", Env::system().now()).await?;
        let runner = ProjectionRunner::new(&Users, sources, Env::system(), "bench").start();
        Ok(Box::new(Rebuilding { raw: raw::open(&database).await?, subject, runner }))
    }
}

struct Rebuilding {
    subject: Registrations,
    raw: Box<dyn RawDriver>,
    runner: ProjectionHandle,
}

/// Waits until the versions are as wanted.
async fn until(
    sources: &ProjectionContext,
    wanted: impl Fn(&ProjectionVersions) -> bool,
) -> Result<(), BenchError> {
    let mut updates = sources.events.watch_progress();
    let so = updates
        .wait_for(|progress| progress.versions.get(Users.name()).is_some_and(|versions| wanted(versions)));
    so.await.map_err(|_| BenchError::InvalidMeasurement("the database has fallen silent".to_owned()))?;
    Ok(())
}

#[async_trait]
impl Comparison for Rebuilding {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        slice.check()?;
        let sources = self.subject.sources().clone();
        let begun = Instant::now();
        let change = |error: projections::ChangeError| BenchError::InvalidMeasurement(error.to_string());
        let now = Env::system().now();
        let building = lifecycle::rebuild(&Users, &sources, "bench", now).await.map_err(change)?;
        let number = building.last;
        until(&sources, |versions| versions.live == number).await?;
        let took = begun.elapsed().as_secs_f64();
        // The versions before it stay: where nothing is appended, keeping them costs nothing.
        let users: &dyn Projection = &Users;
        let (rows, baseline) = self.raw.rows(&users.table(number), slice).await?;
        let rows = u32::try_from(rows).unwrap_or_default();
        Ok(Round { value: f64::from(rows) / took, baseline })
    }

    async fn finish(self: Box<Self>) {
        self.runner.stop().await;
        self.subject.close().await;
    }
}
