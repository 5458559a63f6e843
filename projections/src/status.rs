//! What projector and lane share: the status of one version, which the supervisor reports, and the delay
//! between retries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::ProjectionCheckpoint;

use crate::report::{VersionHealth, VersionReport};

/// The status of a version. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedStatus(Arc<Mutex<VersionReport>>);

impl SharedStatus {
    pub(crate) fn report(&self) -> VersionReport {
        self.lock().clone()
    }

    /// Publishes health, position (the last one if `None`) and events per second; returns whether the health
    /// changed.
    pub(crate) fn show(&self, health: VersionHealth, at: Option<ProjectionCheckpoint>, rate: u64) -> bool {
        let mut report = self.lock();
        let changed = report.health != health;
        report.health = health;
        report.position = at.map_or(report.position, |at| at.position.get());
        report.rate = rate;
        changed
    }

    fn lock(&self) -> MutexGuard<'_, VersionReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The delay before the database is tried again, doubled with each failure in a row.
#[derive(Debug, Default)]
pub(crate) struct RetryDelay {
    failures: u32,
}

impl RetryDelay {
    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    /// Counts a failure; returns the delay after it.
    pub(crate) fn next(&mut self) -> Duration {
        let delay = Self::MIN.saturating_mul(2_u32.saturating_pow(self.failures)).min(Self::MAX);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}
