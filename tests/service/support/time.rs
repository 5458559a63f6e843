//! A clock that can be set, and waiting that ends.

use std::future::Future;
use std::io::{Write, stderr};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use store::{Ambient, Clock, Entropy};

/// How long anything that must happen may take on a slow machine. Nothing waits this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a whole test may take.
const TEST_LIMIT: Duration = Duration::from_secs(150);
const STEP: Duration = Duration::from_millis(20);

/// How much longer, before it is clear that even timers are stuck.
const STUCK: Duration = Duration::from_secs(30);

/// Runs a test; one that hangs fails.
pub(crate) async fn within(test: impl Future<Output = ()>) {
    let _done = end_all_if_stuck();
    assert!(tokio::time::timeout(TEST_LIMIT, test).await.is_ok(), "the test hangs: over {TEST_LIMIT:?}");
}

/// A timer of the runtime does not go off when all its threads wait for each other. Ends the whole run then, unless
/// what is returned is dropped in time.
fn end_all_if_stuck() -> Sender<()> {
    let (done, waiting) = channel();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if waiting.recv_timeout(TEST_LIMIT + STUCK) == Err(RecvTimeoutError::Timeout) {
            // Written past the test's captured output, which nobody would see any more.
            let told = writeln!(stderr(), "{test} is stuck: threads of its runtime wait for each other");
            drop(told);
            std::process::abort();
        }
    });
    done
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "{caller}: {what} did not happen within {PATIENCE:?}");
            tokio::time::sleep(STEP).await;
        }
    }
}

/// The machine's clock until it is set, then a fixed one; the randomness is always real.
#[derive(Default)]
pub(crate) struct TestClock(Mutex<Option<Timestamp>>);

impl TestClock {
    /// From now on it is this moment.
    pub(crate) fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = Some(now);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().unwrap_or_else(|| Ambient::system().now())
    }
}

impl Entropy for TestClock {
    fn fill(&self, bytes: &mut [u8]) {
        let system = Ambient::system();
        for chunk in bytes.chunks_mut(16) {
            let random: [u8; 16] = system.bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}
