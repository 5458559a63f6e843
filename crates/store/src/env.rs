//! Clock and randomness as arguments ([`Env`]), so that tests are deterministic.
//!
//! The system implementations here are the only code in the workspace that reads the clock or the random
//! generator of the operating system.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;
use uuid::Uuid;

/// A source of time.
pub trait Clock: Send + Sync {
    /// The current time, UTC.
    fn now(&self) -> Timestamp;

    /// The time since a fixed moment, on a clock that cannot be set; `None` of a simulated clock, whose time is
    /// taken as it is.
    fn monotonic(&self) -> Option<Duration> {
        None
    }
}

/// A source of random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// The clock and the source of randomness of a process or a test.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Env {
    /// The clock and random generator of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// A given clock and source of randomness.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// The current time, truncated to milliseconds, the resolution of both databases.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// The time since a fixed moment, on a clock that cannot be set; `None` of a simulated clock.
    #[must_use]
    pub fn monotonic(&self) -> Option<Duration> {
        self.clock.monotonic()
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A new `UUIDv7` (RFC 9562). Its order is roughly that of creation, which keeps indexes compact. Cursors
    /// are positions, never ids.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let millis = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Option<Duration> {
        // Unlike `Instant`, this clock goes on while the machine sleeps.
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Some(Duration::new(
            time.tv_sec.try_into().unwrap_or_default(),
            time.tv_nsec.try_into().unwrap_or_default(),
        ))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness nothing can be encrypted safely: predictable keys would be worse than an abort.
        if SystemRandom::new().fill(bytes).is_err() {
            tracing::error!(
                "the operating system returned no random bytes; aborting, as no key can be generated safely"
            );
            std::process::abort();
        }
    }
}
