//! How long after its commit an event is in the rows.

use std::time::Duration;

use async_trait::async_trait;
use projections::{Projection, ProjectionHandle, ProjectionRunner, Users, lifecycle};
use store::Env;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::registrations::Registrations;
use super::result::{Round, Target};
use super::rounds::TimeSlice;
use super::scratch::{ScratchDatabases, StoreKind};
use super::{BenchError, Benchmark, Comparison};

/// A registration every so often: 1,000 a second, whether the ones before are done or not.
const ARRIVAL_INTERVAL: Duration = Duration::from_millis(1);
/// As soon as that an event is to be visible, in milliseconds.
const PROMISED_MS: f64 = 20.0;

pub(super) struct CommitToVisible;

#[async_trait]
impl Benchmark for CommitToVisible {
    fn name(&self) -> &'static str {
        "commit_to_visible"
    }

    fn unit(&self) -> &'static str {
        "ms"
    }

    fn meaning(&self) -> &'static str {
        "1,000 registrations a second, at a fixed pace: how long after its commit is answered an event is in the rows of \
         `users`, of which the slowest of a hundred (p99) counts; the limit is the 20 ms that are promised"
    }

    fn target(&self, _: StoreKind) -> Target {
        Target::RatioAtMost(1.0)
    }

    async fn prepare(
        &self,
        scratch: &ScratchDatabases,
        _: &TimeSlice,
    ) -> Result<Box<dyn Comparison>, BenchError> {
        let subject = Registrations::open(&scratch.database().await?).await?;
        let mut runners = Vec::new();
        for projection in projections::all() {
            let sources = subject.sources().clone();
            lifecycle::open(projection, &sources, "bench", Env::system().now()).await?;
            runners.push(ProjectionRunner::new(projection, sources, Env::system(), "bench").start());
        }
        Ok(Box::new(Watching { subject: std::sync::Arc::new(subject), runners }))
    }
}

struct Watching {
    subject: std::sync::Arc<Registrations>,
    runners: Vec<ProjectionHandle>,
}

#[async_trait]
impl Comparison for Watching {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let mut pace = interval(ARRIVAL_INTERVAL);
        // Open loop: those that are late are made up for at once, and their delay counts.
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        while !slice.is_over() || under_way.is_empty() {
            pace.tick().await;
            let subject = std::sync::Arc::clone(&self.subject);
            under_way.spawn(async move {
                let position = subject.register_one().await?;
                let committed = Instant::now();
                let events = &subject.sources().events;
                let users: &dyn Projection = &Users;
                let table = users.table(events.progress().live_version(Users.name()));
                if !events.wait_until_applied(&table.name, position, Duration::from_secs(30)).await {
                    return Err(BenchError::InvalidMeasurement(format!(
                        "position {position} was not projected within 30 s"
                    )));
                }
                Ok::<_, BenchError>(committed.elapsed())
            });
        }
        slice.check()?;
        let mut delays = Vec::new();
        while let Some(done) = under_way.join_next().await {
            delays.push(done.map_err(|stopped| BenchError::InvalidMeasurement(stopped.to_string()))??);
        }
        delays.sort_unstable();
        let slowest = delays.get(delays.len() * 99 / 100).copied().unwrap_or_default();
        Ok(Round { value: slowest.as_secs_f64() * 1000.0, baseline: PROMISED_MS })
    }

    async fn finish(self: Box<Self>) {
        for runner in &self.runners {
            runner.stop().await;
        }
        if let Ok(subject) = std::sync::Arc::try_unwrap(self.subject) {
            subject.close().await;
        }
    }
}
