//! Which faults a run has, and how often. Each seed has its own faults: with every fault in every run, the
//! frequent ones would hide the rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::random::SeededRandom;

/// The outcome of one call to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// Executed and answered.
    Success,
    /// Not executed, and reported as such.
    Refused,
    /// Executed, but the answer is lost.
    Lost,
    /// Not executed, with unknown outcome.
    Phantom,
    /// Unknown outcome, executed later.
    Late,
    /// The process crashes before execution.
    CrashBefore,
    /// The process crashes after execution.
    CrashAfter,
    /// The process crashes, and the call is executed later.
    CrashLate,
}

impl CallOutcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "is done",
            Self::Refused => "is refused",
            Self::Lost => "is done, and its answer lost",
            Self::Phantom => "is lost",
            Self::Late => "will be done later",
            Self::CrashBefore => "is lost in a crash",
            Self::CrashAfter => "is done, and the process crashes",
            Self::CrashLate => "will be done later, and the process crashes",
        }
    }
}

/// Fault probabilities, per thousand calls or notifications.
#[derive(Debug)]
pub(crate) struct FaultInjector {
    disabled: AtomicBool,
    crash: u64,
    refused: u64,
    unknown: u64,
    slow: u64,
    stalled: u64,
    notification_lost: u64,
    notification_late: u64,
    wrong_clock: u64,
    poison: u64,
}

impl FaultInjector {
    pub(crate) fn new(random: &SeededRandom) -> Self {
        let level = |levels: &[u64]| *random.pick(levels);
        Self {
            disabled: AtomicBool::new(false),
            crash: level(&[0, 0, 3, 10, 30]),
            refused: level(&[0, 20, 100]),
            unknown: level(&[0, 20, 100, 250]),
            slow: level(&[0, 50, 300, 700]),
            stalled: level(&[0, 0, 5, 15]),
            notification_lost: level(&[0, 100, 500]),
            notification_late: level(&[0, 200, 800]),
            wrong_clock: level(&[0, 0, 20, 100]),
            poison: level(&[0, 0, 5, 30]),
        }
    }

    /// Disables all faults.
    pub(crate) fn disable(&self) {
        self.disabled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled.load(Ordering::Relaxed)
    }

    /// The outcome of a call. A read-only call never has an unknown outcome.
    pub(crate) fn call_outcome(&self, random: &SeededRandom, changes: bool) -> CallOutcome {
        if self.is_disabled() {
            CallOutcome::Success
        } else if random.permille(self.crash) {
            *random.pick(&[CallOutcome::CrashBefore, CallOutcome::CrashAfter, CallOutcome::CrashLate])
        } else if random.permille(self.refused) {
            CallOutcome::Refused
        } else if changes && random.permille(self.unknown) {
            *random.pick(&[CallOutcome::Lost, CallOutcome::Phantom, CallOutcome::Late])
        } else {
            CallOutcome::Success
        }
    }

    /// The delay of a message to the database or back.
    pub(crate) fn delay(&self, random: &SeededRandom) -> Duration {
        if !self.is_disabled() && random.permille(self.slow) {
            random.millis(2..=150)
        } else {
            Duration::from_millis(*random.pick(&[0, 0, 1, 2]))
        }
    }

    /// How long a call is stalled, if it is: at times longer than the append timeout.
    pub(crate) fn stall(&self, random: &SeededRandom) -> Option<Duration> {
        let longest = *random.pick(&[500, 500, 2000, 12_000]);
        (!self.is_disabled() && random.permille(self.stalled)).then(|| random.millis(100..=longest))
    }

    /// By how much the clock of the database is ahead from now on, if it changes, as by a failover.
    pub(crate) fn failover_clock(&self, random: &SeededRandom) -> Option<Duration> {
        const AHEAD: [Duration; 4] =
            [Duration::ZERO, Duration::from_secs(30), Duration::from_hours(1), Duration::from_hours(87_600)];
        (!self.is_disabled() && random.permille(self.wrong_clock)).then(|| *random.pick(&AHEAD))
    }

    /// How long a projection cannot apply events, if it cannot.
    pub(crate) fn poison(&self, random: &SeededRandom) -> Option<Duration> {
        (!self.is_disabled() && random.permille(self.poison)).then(|| random.millis(200..=6000))
    }

    /// The delay of a notification; `None` if it is lost.
    pub(crate) fn notification_delay(&self, random: &SeededRandom) -> Option<Duration> {
        if self.is_disabled() {
            Some(random.millis(0..=2))
        } else if random.permille(self.notification_lost) {
            None
        } else if random.permille(self.notification_late) {
            Some(random.millis(5..=3000))
        } else {
            Some(random.millis(0..=2))
        }
    }
}
