//! The retry loop of transactions. `TransientTransactionError` retries the whole transaction with fresh
//! reads, `UnknownTransactionCommitResult` retries the commit alone. At the deadline the caller gets the
//! outcome as known.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::bson::RawDocumentBuf;
use mongodb::error::Error;
use mongodb::{ClientSession, SessionCursor};
use store::backend::CommitError;
use store::{RetryReason, StoreError};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use crate::abandoned_transactions::ConflictMonitor;
use crate::connection::Db;
use crate::error::MongoError;

/// How long a caller waits for the outcome. Shorter than the append timeout of the store, whose error knows
/// less.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(8);
/// Batch size above what any transaction reads, so that every result fits into one reply (the default is
/// 101).
pub(crate) const ONE_REPLY: u32 = 100_000;
/// How often a transaction is retried after a duplicate key error before the entry counts as foreign.
const MAX_DUPLICATE_KEY_RETRIES: u32 = 5;

/// The reads and writes of a transaction. A retry runs them again from the start.
#[async_trait]
pub(crate) trait TransactionBody: Send + Sync + 'static {
    /// The result.
    type Output: Send + 'static;

    /// The operation, for error messages: "committing appends".
    fn description(&self) -> String;

    /// Reads and writes through `session` only. The loop commits.
    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<Self::Output, MongoError>;

    /// Whether the transaction is to be aborted after this output, which the caller still receives.
    fn aborts(_: &Self::Output) -> bool {
        false
    }
}

/// Runs `work` in a transaction and returns by the deadline. A loop that has not sent its commit by then
/// never will, so [`CommitError::NotCommitted`] stays true.
pub(crate) async fn run_transaction<W: TransactionBody>(db: &Db, work: W) -> Result<W::Output, CommitError> {
    let what = work.description();
    let deadline = Instant::now() + TRANSACTION_TIMEOUT;
    let gate = Arc::new(CommitGate::default());
    let attempts = TransactionLoop {
        db: db.clone(),
        work,
        deadline,
        gate: Arc::clone(&gate),
        backoff: Backoff::default(),
        conflicts: ConflictMonitor::default(),
    };
    match timeout_at(deadline, tokio::spawn(attempts.run().in_current_span())).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(stopped)) => Err(gate.time_out(StoreError::unavailable(what, stopped))),
        Err(_) => {
            let what = format!("{what}: no answer from MongoDB within {} s", TRANSACTION_TIMEOUT.as_secs());
            Err(gate.time_out(StoreError::Unavailable { what, source: None }))
        }
    }
}

/// The cause of a failed commit, for callers that treat "not committed" and "unknown" alike.
pub(crate) fn inner_error(error: CommitError) -> StoreError {
    let (CommitError::NotCommitted(reason) | CommitError::Unknown(reason)) = error;
    reason
}

/// All documents that a read inside the transaction returns.
pub(crate) async fn collect_all(
    mut found: SessionCursor<RawDocumentBuf>,
    session: &mut ClientSession,
) -> Result<Vec<RawDocumentBuf>, Error> {
    found.stream(session).try_collect().await
}

/// Decides the race between the timeout of the caller and the commit of the loop.
#[derive(Default)]
struct CommitGate(Mutex<CommitGateState>);

#[derive(Default)]
struct CommitGateState {
    /// A commit was sent and is not known to have failed.
    sent: bool,
    /// The caller has timed out.
    closed: bool,
}

impl CommitGate {
    fn state(&self) -> MutexGuard<'_, CommitGateState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests permission to commit; `false` if the caller has timed out.
    fn open(&self) -> bool {
        let mut state = self.state();
        state.sent = !state.closed;
        state.sent
    }

    /// The commit is known to have failed.
    fn failed(&self) {
        self.state().sent = false;
    }

    /// The caller has timed out: no commit is sent from here on. Returns what is known of an earlier one.
    fn time_out(&self, error: StoreError) -> CommitError {
        let mut state = self.state();
        state.closed = true;
        if state.sent { CommitError::Unknown(error) } else { CommitError::NotCommitted(error) }
    }
}

struct TransactionLoop<W> {
    db: Db,
    work: W,
    deadline: Instant,
    gate: Arc<CommitGate>,
    backoff: Backoff,
    conflicts: ConflictMonitor,
}

impl<W: TransactionBody> TransactionLoop<W> {
    async fn run(mut self) -> Result<W::Output, CommitError> {
        let what = self.work.description();
        let mut duplicates = 0;
        loop {
            let failure = match self.attempt_once(&what).await {
                Ok(outcome) => return outcome,
                Err(failure) => failure,
            };
            duplicates += u32::from(matches!(failure, MongoError::DuplicateKey(_)));
            let again = failure.is_transient() && duplicates < MAX_DUPLICATE_KEY_RETRIES;
            if failure.is_conflict() {
                self.conflicts.record(&self.db).await;
            }
            tracing::debug!(again, error = failure.describe(), "transaction attempt failed: {what}");
            if !again || !self.backoff.wait(self.deadline).await {
                return Err(CommitError::NotCommitted(failure.into_store_error(&what)));
            }
            self.db.retries().count(retry_cause(&failure));
        }
    }

    /// One attempt: an outcome, or an error after which nothing is written. Dropping the session in
    /// mid-transaction aborts the transaction in the background; after a server error there is nothing left
    /// to abort.
    async fn attempt_once(&mut self, what: &str) -> Result<Result<W::Output, CommitError>, MongoError> {
        let mut session = self.db.session().await?;
        session.start_transaction().await?;
        let answer = self.work.attempt(&self.db, &mut session).await?;
        if W::aborts(&answer) {
            session.abort_transaction().await?;
            return Ok(Ok(answer));
        }
        if !self.gate.open() {
            return Err(StoreError::Unavailable {
                what: format!("{what}: timed out before the commit"),
                source: None,
            }
            .into());
        }
        Ok(self.commit(what, &mut session).await?.map(|()| answer))
    }

    async fn commit(
        &mut self,
        what: &str,
        session: &mut ClientSession,
    ) -> Result<Result<(), CommitError>, MongoError> {
        loop {
            let Err(error) = session.commit_transaction().await else {
                self.db.observe(session);
                return Ok(Ok(()));
            };
            let failure = MongoError::from(error);
            tracing::debug!(error = failure.describe(), "commit failed: {what}");
            // Some errors carry neither label. Then the outcome is unknown too, but a retry would return the
            // same error.
            let unknown = failure.is_unknown_commit();
            if !unknown && failure.is_transient() {
                self.gate.failed();
                return Err(failure);
            }
            if !unknown || !self.backoff.wait(self.deadline).await {
                return Ok(Err(CommitError::Unknown(failure.into_store_error(what))));
            }
            self.db.retries().count(RetryReason::UnknownCommit);
        }
    }
}

/// Why a transaction is retried.
fn retry_cause(failure: &MongoError) -> RetryReason {
    match failure {
        MongoError::DuplicateKey(_) => RetryReason::DuplicateKey,
        _ if failure.is_conflict() => RetryReason::WriteConflict,
        MongoError::Driver(_) | MongoError::Store(_) => RetryReason::Transient,
    }
}

/// Exponential backoff with full jitter, so that writers on several nodes do not collide again.
#[derive(Default)]
struct Backoff(u32);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(250);

    /// Waits for the next attempt; `false` if the deadline would pass.
    async fn wait(&mut self, deadline: Instant) -> bool {
        let ceiling = (Self::FIRST * 2_u32.saturating_pow(self.0.min(10))).min(Self::LONGEST);
        self.0 += 1;
        let until = Instant::now() + jitter(ceiling);
        let in_time = until < deadline;
        if in_time {
            sleep(until - Instant::now()).await;
        }
        in_time
    }
}

/// A random part of the pause. It affects timing only, so it does not use the injected randomness.
fn jitter(whole: Duration) -> Duration {
    let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(RandomState::new().build_hasher().finish() % micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late() -> StoreError {
        StoreError::Unavailable { what: "late".to_owned(), source: None }
    }

    #[test]
    fn no_commit_is_sent_after_the_caller_timed_out() {
        let gate = CommitGate::default();
        assert!(matches!(gate.time_out(late()), CommitError::NotCommitted(_)));
        assert!(!gate.open());
    }

    #[test]
    fn pending_commit_is_unknown_until_it_failed() {
        let gate = CommitGate::default();
        assert!(gate.open());
        assert!(matches!(gate.time_out(late()), CommitError::Unknown(_)));
        let gate = CommitGate::default();
        assert!(gate.open());
        gate.failed();
        assert!(matches!(gate.time_out(late()), CommitError::NotCommitted(_)));
    }

    #[test]
    fn jitter_is_bounded_and_varies() {
        let parts: Vec<_> = (0..50).map(|_| jitter(Duration::from_millis(4))).collect();
        assert!(parts.iter().all(|part| *part < Duration::from_millis(4)));
        assert!(parts.iter().any(|part| part != &parts[0]));
    }
}
