//! How fast a read model is made anew.

use std::time::Instant;

use async_trait::async_trait;
use projections::{Projection, Runner, RunnerHandle, Sources, Users, models};
use store::{Ambient, Versions};

use super::figure::{Round, Target};
use super::ground::{Place, StoreKind};
use super::raw::{self, Raw};
use super::registrations::Registrations;
use super::rounds::Slice;
use super::{BenchError, Contest, Row};

/// How many rows there are.
const USERS: u64 = 50_000;

pub(super) struct Rebuild;

#[async_trait]
impl Row for Rebuild {
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

    async fn prepare(&self, place: &Place, slice: &Slice) -> Result<Box<dyn Contest>, BenchError> {
        let database = place.database().await?;
        let subject = Registrations::open(&database).await?;
        subject.fill(USERS, slice).await?;
        let sources = subject.sources().clone();
        models::open(&Users, &sources, "bench", Ambient::system().now()).await?;
        let runner = Runner::new(&Users, sources, Ambient::system(), "bench").start();
        Ok(Box::new(Rebuilding { raw: raw::beside(&database).await?, subject, runner }))
    }
}

struct Rebuilding {
    subject: Registrations,
    raw: Box<dyn Raw>,
    runner: RunnerHandle,
}

/// Waits until the versions are as wanted.
async fn until(sources: &Sources, wanted: impl Fn(&Versions) -> bool) -> Result<(), BenchError> {
    let mut signals = sources.events.signals();
    let so =
        signals.wait_for(|signal| signal.versions.get(Users.name()).is_some_and(|versions| wanted(versions)));
    so.await.map_err(|_| BenchError::Void("the database has fallen silent".to_owned()))?;
    Ok(())
}

#[async_trait]
impl Contest for Rebuilding {
    async fn round(&mut self, slice: &Slice) -> Result<Round, BenchError> {
        slice.check()?;
        let sources = self.subject.sources().clone();
        let begun = Instant::now();
        let change = |error: projections::ChangeError| BenchError::Void(error.to_string());
        let now = Ambient::system().now();
        let building = models::rebuild(&Users, &sources, "bench", now).await.map_err(change)?;
        let number = building.last;
        until(&sources, |versions| versions.live == number).await?;
        let took = begun.elapsed().as_secs_f64();
        // The versions before it stay: where nothing is appended, keeping them costs nothing.
        let users: &dyn Projection = &Users;
        let (rows, limit) = self.raw.rows(&users.table(number), slice).await?;
        let rows = u32::try_from(rows).unwrap_or_default();
        Ok(Round { value: f64::from(rows) / took, limit })
    }

    async fn finish(self: Box<Self>) {
        self.runner.stop().await;
        self.subject.close().await;
    }
}
