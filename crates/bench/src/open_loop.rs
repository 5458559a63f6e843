//! Registrations at a fixed rate, whether earlier ones are done or not.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::error::BenchError;
use crate::time_slice::TimeSlice;

/// Starts a task at every interval until the slice is over, at least one; returns what they return once all are done.
pub(crate) async fn at_fixed_rate<T, F>(
    arrival_interval: Duration,
    slice: &TimeSlice,
    mut start: impl FnMut() -> F,
) -> Result<Vec<T>, BenchError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, BenchError>> + Send + 'static,
{
    let mut pace = interval(arrival_interval);
    // Late ones are made up for immediately, and their delay counts.
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    while !slice.is_over() || under_way.is_empty() {
        pace.tick().await;
        under_way.spawn(start());
    }
    slice.check()?;
    let mut all = Vec::new();
    while let Some(done) = under_way.join_next().await {
        all.push(done.map_err(BenchError::invalid)??);
    }
    Ok(all)
}
