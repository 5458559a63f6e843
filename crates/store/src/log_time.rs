//! The time of events: whose clock stamps them, and what is done about a clock that is wrong.
//!
//! A database with a clock of its own stamps the events of all nodes ([`DatabaseClock`]), so the clock of one
//! node never matters. An embedded database has none: there the clock of the machine is checked against the
//! monotonic clock, because the time of the log never goes back, and one event from the future would stop it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::env::Env;
use crate::lock::lock;

/// How far the clock of the machine may jump ahead while the process runs.
pub const MAX_JUMP: Duration = Duration::from_mins(5);
/// How far the time of the head may lie in the future. Clocks of the nodes of a replica set differ by less.
pub const MAX_FUTURE: Duration = Duration::from_mins(10);

/// The time that the events of a batch get, unless the head has a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitTime {
    /// This time.
    Fixed(Timestamp),
    /// The time of the database's clock at the commit; this time if the database has no clock of its own.
    OfDatabase(Timestamp),
}

impl CommitTime {
    /// The time for a transaction in which the clock of the database, if it has one, shows `database`.
    pub(crate) fn resolve(self, database: Option<Timestamp>) -> Timestamp {
        match self {
            Self::Fixed(time) => time,
            Self::OfDatabase(time) => database.unwrap_or(time),
        }
    }
}

impl From<Timestamp> for CommitTime {
    fn from(time: Timestamp) -> Self {
        Self::Fixed(time)
    }
}

/// The clock of a database, as last read, carried on by the monotonic clock of this process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct DatabaseClock(Arc<Mutex<Option<(Timestamp, Instant)>>>);

impl DatabaseClock {
    /// The database has just answered with its time.
    pub fn observe(&self, time: Timestamp) {
        *lock(&self.0) = Some((time, Instant::now()));
    }

    /// The time of the database; `None` if it was never read.
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        let (time, read) = (*lock(&self.0))?;
        time.checked_add(read.elapsed()).ok()
    }
}

/// The clock of this machine was set ahead while the process ran, by more than [`MAX_JUMP`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock of this machine jumped ahead by {} s; events would be stamped in the future, and the time of \
     the log never goes back. Set the clock right, or restart the service to confirm the new time",
    .ahead.as_secs()
)]
pub struct ClockJump {
    /// By how much.
    pub ahead: Duration,
}

/// The clock of the log, as seen by one process.
pub struct LogClock {
    env: Env,
    database: Option<DatabaseClock>,
    /// `None` of a simulated clock.
    reference: Mutex<Option<Reference>>,
}

/// What the clock of this machine is checked against.
struct Reference {
    /// The latest plausible time.
    time: Timestamp,
    /// The monotonic time at which it was that.
    monotonic: Duration,
    has_jumped: bool,
}

impl LogClock {
    /// The time at which the process starts is taken for right.
    pub(crate) fn new(env: Env, database: Option<DatabaseClock>) -> Self {
        let reference =
            env.monotonic().map(|monotonic| Reference { time: env.now(), monotonic, has_jumped: false });
        Self { env, database, reference: Mutex::new(reference) }
    }

    /// The time for a commit.
    pub(crate) fn commit_time(&self) -> Result<CommitTime, ClockJump> {
        let now = self.env.now();
        match self.database() {
            Some(_) => Ok(CommitTime::OfDatabase(now)),
            None => self.check().map(|()| CommitTime::Fixed(now)),
        }
    }

    /// The time that an event would get if it were appended now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.database().and_then(DatabaseClock::now).unwrap_or_else(|| self.env.now())
    }

    /// By how much the clock of this machine is ahead of that of the database; `None` if there is only one.
    #[must_use]
    pub fn offset(&self) -> Option<SignedDuration> {
        Some(self.env.now().duration_since(self.database()?.now()?))
    }

    /// How far the time of the head is in the future, if it is by more than [`MAX_FUTURE`].
    #[must_use]
    pub fn future(&self, head: Timestamp) -> Option<Duration> {
        let ahead = head.duration_since(self.now());
        (ahead > signed(MAX_FUTURE)).then(|| ahead.unsigned_abs())
    }

    /// Whether the clock that stamps events has jumped ahead. The clock of a database is not checked.
    ///
    /// # Errors
    /// [`ClockJump`], until the clock is right again or the process is restarted.
    pub fn check(&self) -> Result<(), ClockJump> {
        if self.database().is_some() {
            return Ok(());
        }
        let mut reference = lock(&self.reference);
        let (Some(reference), Some(monotonic)) = (reference.as_mut(), self.env.monotonic()) else {
            return Ok(());
        };
        let (now, passed) = (self.env.now(), monotonic.saturating_sub(reference.monotonic));
        let expected = reference.time.checked_add(passed).unwrap_or(reference.time);
        let ahead = now.duration_since(expected);
        if ahead > signed(MAX_JUMP) {
            let jump = ClockJump { ahead: ahead.unsigned_abs() };
            if !std::mem::replace(&mut reference.has_jumped, true) {
                tracing::error!("{jump}");
            }
            return Err(jump);
        }
        // A clock that was set back and then right again has not jumped ahead.
        *reference = Reference { time: now.max(expected), monotonic, has_jumped: false };
        Ok(())
    }

    /// A simulated clock is used as it is.
    fn database(&self) -> Option<&DatabaseClock> {
        self.database.as_ref().filter(|_| self.env.monotonic().is_some())
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Clock, Entropy};

    /// A machine: the time that its clock shows, in seconds, and the seconds since its start.
    #[derive(Default)]
    struct Machine(Mutex<(i64, u64)>);

    impl Machine {
        fn run(&self, seconds: u32) {
            let mut clocks = self.0.lock().unwrap();
            *clocks = (clocks.0 + i64::from(seconds), clocks.1 + u64::from(seconds));
        }

        fn set_clock(&self, by: i64) {
            self.0.lock().unwrap().0 += by;
        }
    }

    impl Clock for Machine {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.lock().unwrap().0).unwrap()
        }

        fn monotonic(&self) -> Option<Duration> {
            Some(Duration::from_secs(self.0.lock().unwrap().1))
        }
    }

    impl Entropy for Machine {
        fn fill(&self, _: &mut [u8]) {}
    }

    fn started(machine: &Arc<Machine>, database: Option<DatabaseClock>) -> LogClock {
        LogClock::new(Env::new(machine.clone(), machine.clone()), database)
    }

    fn machine() -> (Arc<Machine>, LogClock) {
        let machine = Arc::new(Machine::default());
        machine.set_clock(1_800_000_000);
        let clock = started(&machine, None);
        (machine, clock)
    }

    #[test]
    fn time_may_pass_and_small_corrections_are_accepted() {
        let (machine, clock) = machine();
        for (seconds, correction) in [(1, 0), (86_400, 0), (60, 299), (60, -299), (3_600, 250)] {
            machine.run(seconds);
            machine.set_clock(correction);
            assert_eq!(clock.commit_time(), Ok(machine.now().into()), "{correction}");
        }
    }

    #[test]
    fn jump_ahead_is_refused_until_the_clock_is_right_again() {
        let (machine, clock) = machine();
        machine.run(10);
        machine.set_clock(3_600);
        assert_eq!(clock.commit_time(), Err(ClockJump { ahead: Duration::from_hours(1) }));
        machine.run(7_200);
        assert_eq!(
            clock.check(),
            Err(ClockJump { ahead: Duration::from_hours(1) }),
            "time does not confirm it"
        );
        machine.set_clock(-3_600);
        assert_eq!(clock.commit_time(), Ok(machine.now().into()));
    }

    #[test]
    fn clock_that_was_set_back_may_be_set_right() {
        let (machine, clock) = machine();
        machine.set_clock(-3_600);
        assert!(clock.check().is_ok());
        machine.run(60);
        machine.set_clock(3_600);
        assert!(clock.check().is_ok());
    }

    #[test]
    fn restart_confirms_the_time() {
        let (machine, clock) = machine();
        machine.set_clock(3_600);
        assert!(clock.check().is_err());
        assert_eq!(started(&machine, None).commit_time(), Ok(machine.now().into()));
    }

    #[tokio::test(start_paused = true)]
    async fn clock_of_the_database_counts_and_not_that_of_the_machine() {
        let (machine, _) = machine();
        let (right, database) = (machine.now(), DatabaseClock::default());
        let clock = started(&machine, Some(database.clone()));
        database.observe(right);
        machine.set_clock(86_400);
        assert_eq!(clock.commit_time(), Ok(CommitTime::OfDatabase(machine.now())));
        assert_eq!((clock.now(), clock.offset()), (right, Some(SignedDuration::from_hours(24))));
        assert_eq!(clock.future(right + MAX_FUTURE), None);
        let ahead = MAX_FUTURE + Duration::from_secs(1);
        assert_eq!(clock.future(right + ahead), Some(ahead));
    }

    #[tokio::test(start_paused = true)]
    async fn clock_of_the_database_goes_on_between_readings() {
        let clock = DatabaseClock::default();
        assert_eq!(clock.now(), None);
        let time = Timestamp::from_second(1_800_000_000).unwrap();
        clock.observe(time);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), Some(time + Duration::from_secs(3)));
    }
}
