//! A test clock.

use std::sync::Mutex;

use jiff::Timestamp;
use store::{Clock, Entropy, Env};

/// The system clock until it is set, then a fixed time. Randomness is always real.
#[derive(Default)]
pub(crate) struct TestClock(Mutex<Option<Timestamp>>);

impl TestClock {
    /// Fixes the time.
    pub(crate) fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = Some(now);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().unwrap_or_else(|| Env::system().now())
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
