//! What row authentication costs: the same work with and without it.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use projections::{Projection, ProjectionContext, ProjectionRunner, Users, lifecycle};
use store::{Env, ReadModelStore, Table};
use tokio::task::JoinSet;

use super::rebuild::rebuild;
use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::registrations::Registrations;
use crate::scratch::StoreKind;
use crate::target::{Round, Target, per_second};
use crate::time_slice::TimeSlice;

/// Authentication may cost a twentieth.
const TARGET: Target = Target::RatioAtLeast(0.95);
/// Users whose rows are read in turn.
const USERS: usize = 1000;
/// Reads in progress, enough to keep the cores busy: what is measured is work, and no waiting for a thread to wake up.
const READERS: usize = 8;

pub(crate) static AUTHENTICATED_READ: Benchmark = Benchmark {
    name: "authenticated_read",
    unit: "rows/s",
    meaning: "the row of a user is found by its id and its code is checked, as `GET /users/me` does, eight at a \
         time; the baseline finds the same rows without checking them. A whole request costs several times as \
         much, so that the share of the check in it is smaller",
    stores: StoreKind::ALL,
    target: |_| TARGET,
    prepare: |scratch, slice| {
        Box::pin(async move {
            let (_, subject) = Registrations::filled(scratch, slice).await?;
            let projectors = subject.start_projectors().await?;
            subject.wait_until_visible(subject.whole_log().await?.until).await?;
            projectors.stop().await;
            let users: &dyn Projection = &Users;
            let table = users.table(subject.sources().events.progress().live_version(Users.name()));
            let rows = subject.sources().rows.row_page(&table, None, USERS).await?.rows;
            let id =
                |row: &store::Row| row.get(table.key()).and_then(|id| id.as_str()).map(ToOwned::to_owned);
            let ids: Vec<_> = rows.iter().filter_map(id).collect();
            prepared(Reading { subject, table, ids: ids.into() })
        })
    },
};

pub(crate) static AUTHENTICATED_REBUILD: Benchmark = Benchmark {
    name: "authenticated_rebuild",
    unit: "rows/s",
    meaning: "`users` is rebuilt from a log of 50,000 registrations (fewer if SECONDS are too few to create them); \
         the baseline is the same rebuild without codes in the rows",
    stores: StoreKind::ALL,
    target: |_| TARGET,
    prepare: |scratch, slice| {
        Box::pin(async move {
            let (_, subject) = Registrations::filled(scratch, slice).await?;
            lifecycle::open(&Users, subject.sources(), "bench", Env::system().now()).await?;
            prepared(Rebuilding { subject })
        })
    },
};

struct Reading {
    subject: Registrations,
    table: Table,
    ids: Arc<[String]>,
}

#[async_trait]
impl Comparison for Reading {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let authenticated = Arc::clone(&self.subject.sources().rows);
        let (mut count, begun) = (0, Instant::now());
        while !slice.is_over() || count == 0 {
            self.find_all(&authenticated).await?;
            count += 1;
        }
        let value = per_second(self.rows(count), begun.elapsed());
        let (bare, begun) = (self.subject.bare_sources().rows, Instant::now());
        for _ in 0..count {
            slice.check()?;
            self.find_all(&bare).await?;
        }
        Ok(Round { value, baseline: per_second(self.rows(count), begun.elapsed()) })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}

impl Reading {
    async fn find_all(&self, rows: &Arc<dyn ReadModelStore>) -> Result<(), BenchError> {
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            let (rows, table, ids) = (Arc::clone(rows), self.table.clone(), Arc::clone(&self.ids));
            readers.spawn(async move {
                for id in ids.iter().skip(reader).step_by(READERS) {
                    let found = rows.find(&table, table.key(), id).await?.rows.len();
                    if found != 1 {
                        return Err(BenchError::InvalidMeasurement(format!("user {id} has {found} rows")));
                    }
                }
                Ok(())
            });
        }
        while let Some(done) = readers.join_next().await {
            done.map_err(BenchError::invalid)??;
        }
        Ok(())
    }

    fn rows(&self, count: u64) -> u64 {
        count * u64::try_from(self.ids.len()).unwrap_or_default()
    }
}

struct Rebuilding {
    subject: Registrations,
}

#[async_trait]
impl Comparison for Rebuilding {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let events = self.subject.whole_log().await?.events();
        slice.check()?;
        let value = timed(self.subject.sources(), events).await?;
        slice.check()?;
        let baseline = timed(&self.subject.bare_sources(), events).await?;
        Ok(Round { value, baseline })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}

/// Rebuilds with a projector of its own; returns events per second.
async fn timed(sources: &ProjectionContext, events: u64) -> Result<f64, BenchError> {
    let runner = ProjectionRunner::new(&[&Users], sources.clone(), Env::system(), "bench").start();
    let rebuilt = rebuild(sources).await;
    runner.stop().await;
    let (_, took) = rebuilt?;
    Ok(per_second(events, took))
}
