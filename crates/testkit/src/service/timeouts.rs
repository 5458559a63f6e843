//! Waiting that ends.

use std::io::{Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything that must happen may take on a slow machine. Nothing waits this long unless it is broken.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a whole test may take, unless it says otherwise.
const TEST_LIMIT: Duration = Duration::from_secs(150);
const STEP: Duration = Duration::from_millis(20);

/// How much longer, before it is clear that even timers are stuck.
const STUCK_GRACE: Duration = Duration::from_secs(30);

/// Runs a test; one that hangs fails.
pub async fn run_test(test: impl Future<Output = ()>) {
    run_test_with_timeout(TEST_LIMIT, test).await;
}

/// Runs a test that may take this long; one that hangs fails.
pub async fn run_test_with_timeout(limit: Duration, test: impl Future<Output = ()>) {
    let _done = abort_if_stuck(limit);
    assert!(tokio::time::timeout(limit, test).await.is_ok(), "the test hangs: over {limit:?}");
}

/// A timer of the runtime does not go off when all its threads wait for each other. Ends the whole run then, unless
/// what is returned is dropped in time.
fn abort_if_stuck(limit: Duration) -> Sender<()> {
    let (done, waiting) = channel();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if waiting.recv_timeout(limit + STUCK_GRACE) == Err(RecvTimeoutError::Timeout) {
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
pub fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    eventually_within(DEFAULT_TIMEOUT, what, probe)
}

/// The same, for what may take this long.
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
            tokio::time::sleep(STEP).await;
        }
    }
}
