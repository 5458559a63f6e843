//! What the writing of events counts: the writer task and the backends' transaction loops feed it, whoever shows it takes
//! a copy. Numbers only rise, but for the depth of the queue; there is no registry, and nothing here waits for a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::append::AppendError;
use crate::backend::Verdict;

/// Numbers of events in one batch, up to which they are told apart.
const BATCH_BOUNDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
/// Microseconds of one commit, up to which they are told apart.
const COMMIT_BOUNDS: [u64; 13] = [
    500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 2_000_000, 8_000_000,
];

/// What the writing of events has come to since this process opened the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// How many appends wait to be taken into a batch.
    pub waiting: u64,
    /// How many events each batch had, those of appends that were then refused included.
    pub batch_events: Distribution,
    /// How long each batch took, from the first statement to the answer, in microseconds.
    pub commit_micros: Distribution,
    /// What became of appends.
    pub outcomes: Outcomes,
    /// How often transactions of this process, also those of read models, were tried again.
    pub retries: Retries,
}

/// How many appends ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// They happened.
    pub appended: u64,
    /// They lost against others, or were not appendable.
    pub refused: u64,
    /// The queue was full, or closed.
    pub busy: u64,
    /// The database could not do it; nothing was written.
    pub failed: u64,
    /// Nobody could tell in time. One that turns out well later is counted as appended, too.
    pub unknown: u64,
}

impl Outcomes {
    /// Each with its name.
    #[must_use]
    pub fn by_name(self) -> [(&'static str, u64); 5] {
        let Self { appended, refused, busy, failed, unknown } = self;
        [
            ("appended", appended),
            ("refused", refused),
            ("busy", busy),
            ("failed", failed),
            ("unknown", unknown),
        ]
    }
}

/// How often transactions were tried again, by what the database said. A backend that never does counts nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// Another transaction was in the way.
    pub write_conflict: u64,
    /// Any other passing trouble; the whole was begun anew.
    pub transient: u64,
    /// A commit was not answered; it alone was sent again.
    pub unknown_commit: u64,
    /// A unique index refused what the facts had allowed; it was judged by fresh ones.
    pub duplicate_key: u64,
}

impl Retries {
    /// Each with the name that the database has for it.
    #[must_use]
    pub fn by_label(self) -> [(&'static str, u64); 4] {
        let Self { write_conflict, transient, unknown_commit, duplicate_key } = self;
        [
            ("WriteConflict", write_conflict),
            ("TransientTransactionError", transient),
            ("UnknownTransactionCommitResult", unknown_commit),
            ("DuplicateKey", duplicate_key),
        ]
    }
}

/// How often values up to certain bounds came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The bounds, rising, each with how many values were not above it (and above the one before).
    pub counts: Vec<(u64, u64)>,
    /// How many values were above the last bound.
    pub above: u64,
    /// The sum of all values.
    pub sum: u64,
}

impl Distribution {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum::<u64>() + self.above
    }
}

/// A distribution that is being counted.
#[derive(Debug)]
struct Histogram<const N: usize> {
    bounds: [u64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: [u64; N]) -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Self { bounds, counts, above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn count(&self, value: u64) {
        let fitting = self.bounds.iter().zip(&self.counts).find(|(bound, _)| value <= **bound);
        add(fitting.map_or(&self.above, |(_, count)| count), 1);
        add(&self.sum, value);
    }

    fn snapshot(&self) -> Distribution {
        let counts = self.bounds.iter().zip(&self.counts).map(|(bound, count)| (*bound, get(count)));
        Distribution { counts: counts.collect(), above: get(&self.above), sum: get(&self.sum) }
    }
}

/// Counts transactions that are tried again, for a backend.
#[derive(Debug, Default)]
pub struct RetryCounter {
    write_conflict: AtomicU64,
    transient: AtomicU64,
    unknown_commit: AtomicU64,
    duplicate_key: AtomicU64,
}

impl RetryCounter {
    /// Another transaction was in the way.
    pub fn write_conflict(&self) {
        add(&self.write_conflict, 1);
    }

    /// Any other passing trouble.
    pub fn transient(&self) {
        add(&self.transient, 1);
    }

    /// A commit was not answered.
    pub fn unknown_commit(&self) {
        add(&self.unknown_commit, 1);
    }

    /// A unique index refused what the facts had allowed.
    pub fn duplicate_key(&self) {
        add(&self.duplicate_key, 1);
    }

    /// What was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> Retries {
        Retries {
            write_conflict: get(&self.write_conflict),
            transient: get(&self.transient),
            unknown_commit: get(&self.unknown_commit),
            duplicate_key: get(&self.duplicate_key),
        }
    }
}

/// What the writer task counts.
#[derive(Debug)]
pub(crate) struct WriterMetrics {
    waiting: AtomicU64,
    batch_events: Histogram<{ BATCH_BOUNDS.len() }>,
    commit_micros: Histogram<{ COMMIT_BOUNDS.len() }>,
    appended: AtomicU64,
    refused: AtomicU64,
    busy: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
}

impl Default for WriterMetrics {
    fn default() -> Self {
        Self {
            waiting: AtomicU64::new(0),
            batch_events: Histogram::new(BATCH_BOUNDS),
            commit_micros: Histogram::new(COMMIT_BOUNDS),
            appended: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }
    }
}

impl WriterMetrics {
    pub(crate) fn queued(&self) {
        add(&self.waiting, 1);
    }

    pub(crate) fn left_queue(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self, events: usize, took: Duration) {
        self.batch_events.count(u64::try_from(events).unwrap_or(u64::MAX));
        self.commit_micros.count(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn ended(&self, verdict: &Verdict) {
        let counter = match verdict {
            Ok(_) => &self.appended,
            Err(AppendError::Busy) => &self.busy,
            Err(AppendError::Unknown(_)) => &self.unknown,
            Err(AppendError::Store(_)) => &self.failed,
            Err(
                AppendError::Repeated
                | AppendError::Conflict { .. }
                | AppendError::ClaimTaken { .. }
                | AppendError::Erased { .. }
                | AppendError::TooLarge { .. }
                | AppendError::Invalid(_),
            ) => &self.refused,
        };
        add(counter, 1);
    }

    pub(crate) fn snapshot(&self, retries: Retries) -> Metrics {
        Metrics {
            waiting: get(&self.waiting),
            batch_events: self.batch_events.snapshot(),
            commit_micros: self.commit_micros.snapshot(),
            outcomes: Outcomes {
                appended: get(&self.appended),
                refused: get(&self.refused),
                busy: get(&self.busy),
                failed: get(&self.failed),
                unknown: get(&self.unknown),
            },
            retries,
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_at_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new([1, 4, 16]);
        for value in [0, 1, 2, 4, 5, 16, 17, 1000] {
            histogram.count(value);
        }
        let counted = histogram.snapshot();
        assert_eq!(counted, Distribution { counts: vec![(1, 2), (4, 2), (16, 2)], above: 2, sum: 1045 });
        assert_eq!(counted.count(), 8);
    }

    #[test]
    fn retries_are_counted_by_label() {
        let counter = RetryCounter::default();
        counter.transient();
        counter.unknown_commit();
        counter.unknown_commit();
        let labels = [
            ("WriteConflict", 0),
            ("TransientTransactionError", 1),
            ("UnknownTransactionCommitResult", 2),
            ("DuplicateKey", 0),
        ];
        assert_eq!(counter.snapshot().by_label(), labels);
    }
}
