//! Prometheus metrics of appends: counted by the writer task and by the transaction loops of the backends.
//!
//! Serving them belongs in the HTTP layer, which calls [`Metrics::register`].

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::append::{AppendError, AppendResult};

/// Buckets of the batch size: 1, 2, 4 … 1,024 events. Only an append that exceeds a batch is larger.
const BATCH_BOUNDS: u16 = 11;
/// Buckets of the commit time: 0.5 ms, 1 ms, 2 ms … 8 s, the time limit of a transaction.
const COMMIT_BOUNDS: u16 = 15;

/// Counters with one label. All series exist from the start: one that appears with its first event shows no
/// increase.
type Labelled = Family<[(&'static str, &'static str); 1], Counter>;

fn labelled<const N: usize>(label: &'static str, values: [&'static str; N]) -> Labelled {
    let family = Labelled::default();
    for value in values {
        drop(family.get_or_create(&[(label, value)]));
    }
    family
}

/// The counters of appends since this process opened the log. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    waiting: Gauge,
    batch_events: Histogram,
    commit_seconds: Histogram,
    appends: Labelled,
    retries: RetryCounter,
    tampering: TamperingCounter,
}

/// Counts stored records that were refused because they are not authentic: they were changed in the database.
/// Clones share it.
#[derive(Clone, Debug)]
pub struct TamperingCounter(Labelled);

impl Default for TamperingCounter {
    fn default() -> Self {
        Self(labelled("record", ["row", "delivery_cursor", "session"]))
    }
}

impl TamperingCounter {
    pub(crate) fn count(&self, record: &'static str) {
        self.0.get_or_create(&[("record", record)]).inc();
    }

    /// How many records of that kind were refused.
    #[must_use]
    pub fn counted(&self, record: &'static str) -> u64 {
        self.0.get_or_create(&[("record", record)]).get()
    }
}

/// The outcome of an append, as reported to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// Committed.
    Appended,
    /// Rejected, for example because of a conflict or a taken claim.
    Refused,
    /// The queue was full or closed.
    Busy,
    /// The database failed, or the clock is wrong; nothing was written.
    Failed,
    /// The outcome was unknown at the timeout. If committed later, it is counted as appended too.
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
            Err(AppendError::Store(_) | AppendError::ClockJumped(_)) => Self::Failed,
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
            tampering: TamperingCounter::default(),
        }
    }

    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let waiting = "Appends waiting to be taken into a batch";
        registry.register("aegis_append_queue_depth", waiting, self.waiting.clone());
        let appends = "Appends by outcome, as reported to their callers";
        registry.register("aegis_appends", appends, self.appends.clone());
        let events = "Events per batch of appends, including those of rejected appends";
        registry.register("aegis_append_batch_events", events, self.batch_events.clone());
        let seconds = "Time from the first statement of a batch to the answer of its commit";
        registry.register("aegis_append_commit_seconds", seconds, self.commit_seconds.clone());
        let retries = "Retried transactions by the error of the database";
        registry.register("aegis_transaction_retries", retries, self.retries.0.clone());
        let tampered = "Stored records that were refused because they are not authentic";
        registry.register("aegis_tampered_records", tampered, self.tampering.0.clone());
    }

    /// The counter of records that are not authentic.
    #[must_use]
    pub fn tampering(&self) -> &TamperingCounter {
        &self.tampering
    }

    /// The number of queued appends.
    #[must_use]
    pub fn waiting(&self) -> i64 {
        self.waiting.get()
    }

    /// The number of appends with that outcome.
    #[must_use]
    pub fn appends(&self, outcome: AppendOutcome) -> u64 {
        self.appends.get_or_create(&[(AppendOutcome::LABEL, outcome.name())]).get()
    }

    /// The number of retries of transactions of this process, including those of read models, for that
    /// reason.
    #[must_use]
    pub fn retries(&self, reason: RetryReason) -> u64 {
        self.retries.counter(reason).get()
    }

    /// The number of batches and of their events.
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
        // Batches are far smaller than `u32::MAX`.
        self.batch_events.observe(u32::try_from(events).unwrap_or(u32::MAX).into());
        self.commit_seconds.observe(seconds);
    }

    pub(crate) fn record_result(&self, result: &AppendResult) {
        self.appends.get_or_create(&[(AppendOutcome::LABEL, AppendOutcome::of(result).name())]).inc();
    }
}

/// Why a transaction was retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// A write conflict with another transaction.
    WriteConflict,
    /// Another transient error; the whole transaction was retried.
    Transient,
    /// A commit was not answered; the commit alone was retried.
    UnknownCommit,
    /// A unique index rejected a write that the preconditions permitted; the batch was planned again.
    DuplicateKey,
}

impl RetryReason {
    /// Every reason.
    pub const ALL: [Self; 4] =
        [Self::WriteConflict, Self::Transient, Self::UnknownCommit, Self::DuplicateKey];
    const LABEL: &str = "label";

    /// The error label of MongoDB.
    fn name(self) -> &'static str {
        match self {
            Self::WriteConflict => "WriteConflict",
            Self::Transient => "TransientTransactionError",
            Self::UnknownCommit => "UnknownTransactionCommitResult",
            Self::DuplicateKey => "DuplicateKey",
        }
    }
}

/// Counts the retried transactions of a backend. Clones share the counters.
#[derive(Clone, Debug)]
pub struct RetryCounter(Labelled);

impl Default for RetryCounter {
    fn default() -> Self {
        Self(labelled(RetryReason::LABEL, RetryReason::ALL.map(RetryReason::name)))
    }
}

impl RetryCounter {
    /// Counts one retry.
    pub fn count(&self, reason: RetryReason) {
        self.counter(reason).inc();
    }

    fn counter(&self, reason: RetryReason) -> Counter {
        self.0.get_or_create_owned(&[(RetryReason::LABEL, reason.name())])
    }
}
