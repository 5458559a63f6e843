//! The status of one version, shared between its projector, the lane and the supervisor that reports it.

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
#[derive(Debug)]
pub(crate) struct RetryDelay(Duration);

impl Default for RetryDelay {
    fn default() -> Self {
        Self(Self::MIN)
    }
}

impl RetryDelay {
    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    pub(crate) fn next(&mut self) -> Duration {
        let delay = self.0;
        self.0 = (delay * 2).min(Self::MAX);
        delay
    }

    pub(crate) fn reset(&mut self) {
        self.0 = Self::MIN;
    }
}
