//! A test clock.

use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use store::{Clock, Entropy, Env};

/// The clock of a machine, right or wrong, until it is set to a fixed time. Randomness is always real.
#[derive(Default)]
pub(crate) struct TestClock(Mutex<Shown>);

enum Shown {
    /// This much more than the right time.
    Ahead(SignedDuration),
    Fixed(Timestamp),
}

impl Default for Shown {
    fn default() -> Self {
        Self::Ahead(SignedDuration::ZERO)
    }
}

impl TestClock {
    /// Fixes the time. The clock is no longer that of a machine, so events are stamped by it on any database.
    pub(crate) fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = Shown::Fixed(now);
    }

    /// Sets the clock of the machine ahead of the right time by this much.
    pub(crate) fn set_ahead(&self, by: SignedDuration) {
        *self.0.lock().unwrap() = Shown::Ahead(by);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        match *self.0.lock().unwrap() {
            Shown::Ahead(by) => Env::system().now() + by,
            Shown::Fixed(time) => time,
        }
    }

    fn monotonic(&self) -> Option<Duration> {
        match *self.0.lock().unwrap() {
            Shown::Ahead(_) => Env::system().monotonic(),
            Shown::Fixed(_) => None,
        }
    }
}

impl Entropy for TestClock {
    fn fill(&self, bytes: &mut [u8]) {
        let system = Env::system();
        for chunk in bytes.chunks_mut(16) {
            let random: [u8; 16] = system.bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}
