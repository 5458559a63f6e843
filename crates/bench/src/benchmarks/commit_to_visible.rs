//! The time from the commit of an event until its rows are visible.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use projections::ProjectionHandle;
use tokio::time::Instant;

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::open_loop::at_fixed_rate;
use crate::registrations::Registrations;
use crate::scratch::StoreKind;
use crate::target::{Round, Target, p99_ms};
use crate::time_slice::TimeSlice;

/// The interval between registrations: 1,000 per second, whether earlier ones are done or not.
const ARRIVAL_INTERVAL: Duration = Duration::from_millis(1);
/// The promised time until an event is visible, in milliseconds.
const PROMISED_MS: f64 = 20.0;

pub(crate) static COMMIT_TO_VISIBLE: Benchmark = Benchmark {
    name: "commit_to_visible",
    unit: "ms",
    meaning: "1,000 registrations per second, at a fixed rate: the time from the acknowledged commit until the \
         event is in the rows of `users` (p99); the baseline is the promised 20 ms",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtMost(1.0),
    prepare: |scratch, _| {
        Box::pin(async move {
            let subject = Registrations::open(&scratch.database().await?).await?;
            let projectors = subject.start_projectors().await?;
            prepared(Watching { subject: Arc::new(subject), projectors })
        })
    },
};

struct Watching {
    subject: Arc<Registrations>,
    projectors: ProjectionHandle,
}

#[async_trait]
impl Comparison for Watching {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let delays = at_fixed_rate(ARRIVAL_INTERVAL, slice, || {
            let subject = Arc::clone(&self.subject);
            async move {
                let position = subject.register_one().await?;
                let committed = Instant::now();
                subject.wait_until_visible(position).await?;
                Ok(committed.elapsed())
            }
        })
        .await?;
        Ok(Round { value: p99_ms(delays), baseline: PROMISED_MS })
    }

    async fn finish(self: Box<Self>) {
        self.projectors.stop().await;
        if let Ok(subject) = Arc::try_unwrap(self.subject) {
            subject.close().await;
        }
    }
}
