//! The clock of the limits: it never goes backward, so that setting a machine's clock back prolongs no
//! refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use store::Env;

#[derive(Clone)]
pub(crate) struct LimitClock {
    env: Env,
    /// The latest time that was read, in milliseconds.
    latest: Arc<AtomicU64>,
}

impl LimitClock {
    pub(crate) fn new(env: &Env) -> Self {
        Self { env: env.clone(), latest: Arc::default() }
    }

    /// The time since a fixed moment.
    pub(crate) fn now(&self) -> Duration {
        let since_epoch = || self.env.now().as_duration().unsigned_abs();
        let now = self.env.monotonic().unwrap_or_else(since_epoch);
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

impl governor::clock::Clock for LimitClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Self::now(self)
    }
}
