//! What the writing of events counts, for Prometheus: the writer task and the backends' transaction loops count, whoever
//! shows metrics registers them.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::append::{AppendError, AppendResult};

/// Bounds of batches: 1, 2, 4 … 1,024 events. Larger ones have a single append that is larger than a batch.
const BATCH_BOUNDS: u16 = 11;
/// Bounds of commits: half a millisecond, 1 ms, 2 ms … 8 s, when the transaction loop gives up.
const COMMIT_BOUNDS: u16 = 15;

/// Counters that one label tells apart. All of them are there from the start: a series that appears with its first event
/// shows no increase.
type Labelled = Family<[(&'static str, &'static str); 1], Counter>;

fn labelled<const N: usize>(label: &'static str, values: [&'static str; N]) -> Labelled {
    let family = Labelled::default();
    for value in values {
        drop(family.get_or_create(&[(label, value)]));
    }
    family
}

/// What the writing of events has come to since this process opened the log. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    waiting: Gauge,
    batch_events: Histogram,
    commit_seconds: Histogram,
    appends: Labelled,
    retries: RetryCounter,
}

/// What became of an append, as its caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It happened.
    Appended,
    /// It lost against another, or was not appendable.
    Refused,
    /// The queue was full, or closed.
    Busy,
    /// The database could not do it; nothing was written.
    Failed,
    /// Nobody could tell in time. One that turns out well later is counted as appended, too.
    Unknown,
}

impl AppendOutcome {
    const ALL: [Self; 5] = [Self::Appended, Self::Refused, Self::Busy, Self::Failed, Self::Unknown];
    const LABEL: &str = "outcome";

    fn name(self) -> &'static str {
        match self {
            Self::Appended => "appended",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    fn of(result: &AppendResult) -> Self {
        match result {
            Ok(_) => Self::Appended,
            Err(AppendError::Busy) => Self::Busy,
            Err(AppendError::Unknown(_)) => Self::Unknown,
            Err(AppendError::Store(_)) => Self::Failed,
            Err(
                AppendError::DuplicateRequest
                | AppendError::Conflict { .. }
                | AppendError::ClaimTaken { .. }
                | AppendError::WrappingKeyRotated { .. }
                | AppendError::Erased { .. }
                | AppendError::TooLarge { .. }
                | AppendError::Invalid(_),
            ) => Self::Refused,
        }
    }
}

impl Metrics {
    pub(crate) fn new(retries: RetryCounter) -> Self {
        Self {
            waiting: Gauge::default(),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, BATCH_BOUNDS)),
            commit_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, COMMIT_BOUNDS)),
            appends: labelled(AppendOutcome::LABEL, AppendOutcome::ALL.map(AppendOutcome::name)),
            retries,
        }
    }

    /// Has them shown by whoever shows the registry.
    pub fn register(&self, registry: &mut Registry) {
        let waiting = "Appends that wait to be taken into a batch";
        registry.register("aegis_append_queue_depth", waiting, self.waiting.clone());
        let appends = "Appends, by what their callers were told";
        registry.register("aegis_appends", appends, self.appends.clone());
        let events = "Events of each batch of appends, those of appends that were then refused included";
        registry.register("aegis_append_batch_events", events, self.batch_events.clone());
        let seconds = "Time from the first statement of a batch to the answer of its commit";
        registry.register("aegis_append_commit_seconds", seconds, self.commit_seconds.clone());
        let retries = "Transactions that were tried again, by what the database had said";
        registry.register("aegis_transaction_retries", retries, self.retries.0.clone());
    }

    /// How many appends wait to be taken into a batch.
    #[must_use]
    pub fn waiting(&self) -> i64 {
        self.waiting.get()
    }

    /// How many appends have ended so.
    #[must_use]
    pub fn appends(&self, outcome: AppendOutcome) -> u64 {
        self.appends.get_or_create(&[(AppendOutcome::LABEL, outcome.name())]).get()
    }

    /// How often transactions of this process, also those of read models, were tried again for that reason.
    #[must_use]
    pub fn retries(&self, retry: RetryReason) -> u64 {
        self.retries.counter(retry).get()
    }

    /// How many batches there were, and how many events they had.
    #[cfg(test)]
    pub(crate) fn batches(&self) -> (u64, f64) {
        (self.batch_events.count(), self.batch_events.sum())
    }

    pub(crate) fn queued(&self) {
        self.waiting.inc();
    }

    pub(crate) fn dequeued(&self) {
        self.waiting.dec();
    }

    pub(crate) fn committed(&self, events: usize, seconds: f64) {
        // Batches are far below the largest number that this type holds.
        self.batch_events.observe(u32::try_from(events).unwrap_or(u32::MAX).into());
        self.commit_seconds.observe(seconds);
    }

    pub(crate) fn record_result(&self, result: &AppendResult) {
        self.appends.get_or_create(&[(AppendOutcome::LABEL, AppendOutcome::of(result).name())]).inc();
    }
}

/// Why a transaction was tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// Another transaction was in the way.
    WriteConflict,
    /// Any other passing trouble; the whole was begun anew.
    Transient,
    /// A commit was not answered; it alone was sent again.
    UnknownCommit,
    /// A unique index refused what the facts had allowed; it was judged by fresh ones.
    DuplicateKey,
}

impl RetryReason {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::WriteConflict, Self::Transient, Self::UnknownCommit, Self::DuplicateKey];
    const LABEL: &str = "label";

    /// As MongoDB calls it.
    fn name(self) -> &'static str {
        match self {
            Self::WriteConflict => "WriteConflict",
            Self::Transient => "TransientTransactionError",
            Self::UnknownCommit => "UnknownTransactionCommitResult",
            Self::DuplicateKey => "DuplicateKey",
        }
    }
}

/// Counts transactions that are tried again, for a backend. Clones count together; a backend that never does counts
/// nothing.
#[derive(Clone, Debug)]
pub struct RetryCounter(Labelled);

impl Default for RetryCounter {
    fn default() -> Self {
        Self(labelled(RetryReason::LABEL, RetryReason::ALL.map(RetryReason::name)))
    }
}

impl RetryCounter {
    /// Counts one.
    pub fn count(&self, retry: RetryReason) {
        self.counter(retry).inc();
    }

    fn counter(&self, retry: RetryReason) -> Counter {
        self.0.get_or_create_owned(&[(RetryReason::LABEL, retry.name())])
    }
}
