//! The time that a subject may use.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::error::BenchError;

/// The time that a subject has in one round.
#[derive(Clone, Debug)]
pub(crate) struct TimeSlice {
    length: Duration,
    end: Instant,
    stop: CancellationToken,
}

impl TimeSlice {
    pub(crate) fn new(length: Duration, stop: CancellationToken) -> Self {
        Self { length, end: Instant::now() + length, stop }
    }

    /// As long a slice, from now on.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.length, self.stop.clone())
    }

    /// Whether the time is over, or the benchmark was interrupted.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_cancelled() || Instant::now() >= self.end
    }

    /// Fails with [`BenchError::Interrupted`] if the benchmark was interrupted.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        if self.stop.is_cancelled() { Err(BenchError::Interrupted) } else { Ok(()) }
    }
}
