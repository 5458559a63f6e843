//! Trying cases one after the other, on several servers at a time: most of the time is spent waiting.

use std::any::Any;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use testkit::{FailPointMode, MongodServer};

use super::injected_fault::{Fault, TargetCommand};

/// How many servers at a time.
const SERVERS: usize = 5;
/// How long one case may take on a slow machine. None waits this long unless something is broken.
const TIMEOUT: Duration = Duration::from_mins(2);

/// What the caller is told, and what is so. Anything else is a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// That it is done, and it is.
    Done,
    /// That it is not, and it never will be.
    NotDone,
    /// That nobody can tell, and it is done.
    UnknownButDone,
    /// That nobody can tell, and it is not, nor will it be.
    UnknownAndNotDone,
}

/// What a case comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpectedOutcome {
    /// It is done.
    Done,
    /// It is not.
    NotDone,
    /// Nobody can tell, and it is done.
    UnknownButDone,
    /// Nobody can tell: the fault may be gone before the last try has reached the server.
    Unknown,
    /// Any of these: it depends on how fast the server gives up the transaction before, and on where in a try the
    /// caller's patience ends.
    Open,
}

impl ExpectedOutcome {
    pub(super) fn allows(self, told: Observed) -> bool {
        match self {
            Self::Done => told == Observed::Done,
            Self::NotDone => told == Observed::NotDone,
            Self::UnknownButDone => told == Observed::UnknownButDone,
            Self::Unknown => matches!(told, Observed::UnknownButDone | Observed::UnknownAndNotDone),
            Self::Open => true,
        }
    }
}

/// A fault, and what comes of it if it strikes once, three times, always.
pub(super) type FaultCase = (TargetCommand, Fault, [ExpectedOutcome; 3]);
/// A fault that strikes once and outlasts the caller's patience.
pub(super) type TimeoutCase = (TargetCommand, Fault, ExpectedOutcome);

/// One case.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestCase {
    pub(super) place: TargetCommand,
    pub(super) fault: Fault,
    pub(super) failing: FailPointMode,
    pub(super) expected: ExpectedOutcome,
}

/// Every line of a table in each of its ways.
pub(super) fn expand(rows: &[FaultCase], late: &[TimeoutCase]) -> Vec<TestCase> {
    let often = [FailPointMode::Times(1), FailPointMode::Times(3), FailPointMode::Always];
    let each = |&(place, fault, told): &FaultCase| {
        let ways = often.into_iter().zip(told);
        ways.map(move |(failing, expected)| TestCase { place, fault, failing, expected })
    };
    let once = |&(place, fault, expected): &TimeoutCase| {
        // What holds the answer back lasts until it is cleared; a command that is held back, for a time of its own.
        let failing =
            if fault == Fault::Unanswered { FailPointMode::Always } else { FailPointMode::Times(1) };
        TestCase { place, fault, failing, expected }
    };
    // The longest first, so that at the end nobody waits for a last one.
    late.iter().map(once).chain(rows.iter().flat_map(each)).collect()
}

/// Tries all cases; says which have failed, and how.
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
                Ok(Err(panic)) => said(&*panic),
                Err(_) => format!("it hangs: over {TIMEOUT:?}"),
            };
            failures.lock().unwrap().push(format!("{case:?}:\n    {problem}"));
        }
    };
    join_all((0..SERVERS).map(|_| work())).await;
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {total} cases failed:\n{}", failures.len(), failures.join("\n"));
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}
