//! Which faults a run has, and how often. Each seed has its own weather: with every fault in every run, the frequent
//! ones would hide the rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::chance::Chance;

/// What becomes of one call to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done and answered.
    Fine,
    /// It is not done, and says so.
    Refused,
    /// It is done, but the answer is lost.
    Lost,
    /// It is not done, and nobody can tell.
    Phantom,
    /// It is answered as lost, and done some time later.
    Late,
    /// The process dies before it is done.
    CrashBefore,
    /// The process dies once it is done.
    CrashAfter,
    /// The process dies, and it is done some time later.
    CrashLate,
}

impl Fate {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fine => "is done",
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

/// How often what happens, in a thousand calls or news.
#[derive(Debug)]
pub(crate) struct Weather {
    calm: AtomicBool,
    crash: u64,
    refused: u64,
    unknown: u64,
    slow: u64,
    held: u64,
    news_lost: u64,
    news_late: u64,
}

impl Weather {
    pub(crate) fn new(chance: &Chance) -> Self {
        let often = |levels: &[u64]| *chance.pick(levels);
        Self {
            calm: AtomicBool::new(false),
            crash: often(&[0, 0, 3, 10, 30]),
            refused: often(&[0, 20, 100]),
            unknown: often(&[0, 20, 100, 250]),
            slow: often(&[0, 50, 300, 700]),
            held: often(&[0, 0, 5, 15]),
            news_lost: often(&[0, 100, 500]),
            news_late: often(&[0, 200, 800]),
        }
    }

    /// From here on nothing fails any more.
    pub(crate) fn clear_up(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// The fate of a call that changes something, or of one that only asks: that is answered or not.
    pub(crate) fn fate(&self, chance: &Chance, changes: bool) -> Fate {
        if self.is_calm() {
            Fate::Fine
        } else if chance.happens(self.crash) {
            *chance.pick(&[Fate::CrashBefore, Fate::CrashAfter, Fate::CrashLate])
        } else if chance.happens(self.refused) {
            Fate::Refused
        } else if changes && chance.happens(self.unknown) {
            *chance.pick(&[Fate::Lost, Fate::Phantom, Fate::Late])
        } else {
            Fate::Fine
        }
    }

    /// How long a message takes to the database, or back.
    pub(crate) fn delay(&self, chance: &Chance) -> Duration {
        if !self.is_calm() && chance.happens(self.slow) {
            chance.millis(2..=150)
        } else {
            Duration::from_millis(*chance.pick(&[0, 0, 1, 2]))
        }
    }

    /// For how long a call is held up, if it is: longer, at times, than a caller waits for a verdict.
    pub(crate) fn hold(&self, chance: &Chance) -> Option<Duration> {
        let longest = *chance.pick(&[500, 500, 2000, 12_000]);
        (!self.is_calm() && chance.happens(self.held)).then(|| chance.millis(100..=longest))
    }

    /// How long a piece of news takes; `None` if it never comes.
    pub(crate) fn news(&self, chance: &Chance) -> Option<Duration> {
        if self.is_calm() {
            Some(chance.millis(0..=2))
        } else if chance.happens(self.news_lost) {
            None
        } else if chance.happens(self.news_late) {
            Some(chance.millis(5..=3000))
        } else {
            Some(chance.millis(0..=2))
        }
    }
}
