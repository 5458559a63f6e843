//! Runs the cases on several servers in parallel: most of the time is spent waiting.

use std::any::Any;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use testkit::{FailPointMode, MongodServer};

use super::injected_fault::{Fault, TargetCommand};

/// Number of servers.
const SERVERS: usize = 5;
/// Timeout of one case, generous enough for a slow machine.
const TIMEOUT: Duration = Duration::from_mins(2);

/// The outcome that the caller is given, together with the truth. Any other combination is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// Reported as done, and done.
    Done,
    /// Reported as not done, and never done.
    NotDone,
    /// Reported as unknown, and done.
    UnknownButDone,
    /// Reported as unknown, and never done.
    UnknownAndNotDone,
}

/// The expected outcome of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpectedOutcome {
    /// Done.
    Done,
    /// Not done.
    NotDone,
    /// Unknown, and done.
    UnknownButDone,
    /// Unknown: the fault may end before the last attempt reaches the server.
    Unknown,
    /// Any of these: it depends on how fast the server aborts the previous transaction, and on when in an
    /// attempt the caller times out.
    Open,
}

impl ExpectedOutcome {
    pub(super) fn allows(self, observed: Observed) -> bool {
        match self {
            Self::Done => observed == Observed::Done,
            Self::NotDone => observed == Observed::NotDone,
            Self::UnknownButDone => observed == Observed::UnknownButDone,
            Self::Unknown => matches!(observed, Observed::UnknownButDone | Observed::UnknownAndNotDone),
            Self::Open => true,
        }
    }
}

/// A fault, and the outcomes if it occurs once, three times, always.
pub(super) type FaultCase = (TargetCommand, Fault, [ExpectedOutcome; 3]);
/// A fault that occurs once and lasts longer than the timeout of the caller.
pub(super) type TimeoutCase = (TargetCommand, Fault, ExpectedOutcome);

/// One case.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestCase {
    pub(super) target: TargetCommand,
    pub(super) fault: Fault,
    pub(super) failing: FailPointMode,
    pub(super) expected: ExpectedOutcome,
}

/// Expands the lines of a table into cases.
pub(super) fn expand(rows: &[FaultCase], late: &[TimeoutCase]) -> Vec<TestCase> {
    let often = [FailPointMode::Times(1), FailPointMode::Times(3), FailPointMode::Always];
    let each = |&(target, fault, outcomes): &FaultCase| {
        let ways = often.into_iter().zip(outcomes);
        ways.map(move |(failing, expected)| TestCase { target, fault, failing, expected })
    };
    let once = |&(target, fault, expected): &TimeoutCase| {
        // A delayed answer lasts until the fail point is cleared; a delayed command has its own duration.
        let failing =
            if fault == Fault::Unanswered { FailPointMode::Always } else { FailPointMode::Times(1) };
        TestCase { target, fault, failing, expected }
    };
    // The longest cases first, for a balanced load at the end.
    late.iter().map(once).chain(rows.iter().flat_map(each)).collect()
}

/// Runs all cases; panics with a list of the failed ones.
pub(super) async fn run_all<C: Copy + Debug>(cases: Vec<C>, attempt: impl AsyncFn(&MongodServer, C)) {
    let total = cases.len();
    let (open, failures) = (Mutex::new(cases.into_iter()), Mutex::new(Vec::new()));
    let work = async || {
        let server = MongodServer::replica_set().await;
        loop {
            let next = open.lock().unwrap().next();
            let Some(case) = next else { break };
            let tried =
                tokio::time::timeout(TIMEOUT, AssertUnwindSafe(attempt(&server, case)).catch_unwind());
            let problem = match tried.await {
                Ok(Ok(())) => continue,
                Ok(Err(panic)) => panic_message(&*panic),
                Err(_) => format!("timed out after {TIMEOUT:?}"),
            };
            failures.lock().unwrap().push(format!("{case:?}:\n    {problem}"));
        }
    };
    join_all((0..SERVERS).map(|_| work())).await;
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {total} cases failed:\n{}", failures.len(), failures.join("\n"));
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}
