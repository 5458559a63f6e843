//! Timeouts of tests, and polling with a timeout.

use std::io::{Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Timeout of a single step, generous enough for a slow machine.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Default timeout of a whole test.
const TEST_LIMIT: Duration = Duration::from_secs(150);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Extra time after which the timers of the runtime count as stuck.
const STUCK_GRACE: Duration = Duration::from_secs(30);

/// Runs a test with the default timeout.
pub async fn run_test(test: impl Future<Output = ()>) {
    run_test_with_timeout(TEST_LIMIT, test).await;
}

/// Runs a test with a timeout.
pub async fn run_test_with_timeout(limit: Duration, test: impl Future<Output = ()>) {
    let _done = abort_if_stuck(limit);
    assert!(tokio::time::timeout(limit, test).await.is_ok(), "the test timed out after {limit:?}");
}

/// Aborts the test run unless the returned value is dropped in time. If all threads of the runtime are
/// deadlocked, its timers do not fire either.
fn abort_if_stuck(limit: Duration) -> Sender<()> {
    let (done, waiting) = channel();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if waiting.recv_timeout(limit + STUCK_GRACE) == Err(RecvTimeoutError::Timeout) {
            // Bypasses the output capture of tests, which would be lost.
            let written = writeln!(stderr(), "{test} is stuck: the threads of its runtime are deadlocked");
            drop(written);
            std::process::abort();
        }
    });
    done
}

/// Polls until `probe` returns a value.
#[track_caller]
pub fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    eventually_within(DEFAULT_TIMEOUT, what, probe)
}

/// Like [`eventually`], with another timeout.
#[track_caller]
pub fn eventually_within<T>(
    timeout: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            assert!(started.elapsed() < timeout, "{caller}: {what} did not happen within {timeout:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
