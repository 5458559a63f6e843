//! The transaction loop. `TransientTransactionError` repeats the whole with fresh facts,
//! `UnknownTransactionCommitResult` repeats the commit alone; after the deadline the caller is told what is known.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::bson::RawDocumentBuf;
use mongodb::error::Error;
use mongodb::{ClientSession, SessionCursor};
use store::backend::CommitError;
use store::{Retry, StoreError};
use tokio::time::{Instant, sleep, timeout_at};

use crate::connect::Db;
use crate::failure::Failure;
use crate::orphans::Conflicts;

/// How long a caller waits for an outcome: less than the writer task's own patience, so that what is known is told.
const DEADLINE: Duration = Duration::from_secs(8);
/// How often a duplicate key is met with fresh facts before it is believed.
const MAX_DUPLICATES: u32 = 5;

/// What is done inside a transaction. It may be tried more than once, each time from the start.
#[async_trait]
pub(crate) trait Work: Send + Sync + 'static {
    /// What it finds out.
    type Answer: Send + 'static;

    /// What it is, for messages: "committing appends".
    fn what(&self) -> String;

    /// Reads and writes, through `session` only. The loop commits.
    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<Self::Answer, Failure>;
}

/// Carries `work` out in a transaction and answers by the deadline. A loop that has not sent its commit by then never
/// will, so [`CommitError::NotCommitted`] stays true.
pub(crate) async fn transact<W: Work>(db: &Db, work: W) -> Result<W::Answer, CommitError> {
    let what = work.what();
    let deadline = Instant::now() + DEADLINE;
    let gate = Arc::new(Gate::default());
    let attempts = Loop {
        db: db.clone(),
        work,
        deadline,
        gate: Arc::clone(&gate),
        backoff: Backoff::default(),
        conflicts: Conflicts::default(),
    };
    match timeout_at(deadline, tokio::spawn(attempts.run())).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(stopped)) => Err(gate.give_up(StoreError::unavailable(what, stopped))),
        Err(_) => {
            let what = format!("{what}: MongoDB has not answered for {} s", DEADLINE.as_secs());
            Err(gate.give_up(StoreError::Unavailable { what, source: None }))
        }
    }
}

/// Why it was not committed, or may not have been, for those to whom it makes no difference.
pub(crate) fn reason(error: CommitError) -> StoreError {
    let (CommitError::NotCommitted(reason) | CommitError::Unknown(reason)) = error;
    reason
}

/// Everything that a read inside the transaction has found.
pub(crate) async fn all(
    mut found: SessionCursor<RawDocumentBuf>,
    session: &mut ClientSession,
) -> Result<Vec<RawDocumentBuf>, Error> {
    found.stream(session).try_collect().await
}

/// Between the caller, who may lose patience, and the loop, which may send a commit.
#[derive(Default)]
struct Gate(Mutex<GateState>);

#[derive(Default)]
struct GateState {
    /// A commit is under way, or was and is not known to have failed.
    sent: bool,
    /// The caller has been answered.
    closed: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks to send a commit; `false` if nobody waits for it any more.
    fn open(&self) -> bool {
        let mut state = self.state();
        state.sent = !state.closed;
        state.sent
    }

    /// The commit is known not to have happened.
    fn failed(&self) {
        self.state().sent = false;
    }

    /// The caller waits no longer: no commit is sent from here on. Says what is known of one sent before.
    fn give_up(&self, error: StoreError) -> CommitError {
        let mut state = self.state();
        state.closed = true;
        if state.sent { CommitError::Unknown(error) } else { CommitError::NotCommitted(error) }
    }
}

struct Loop<W> {
    db: Db,
    work: W,
    deadline: Instant,
    gate: Arc<Gate>,
    backoff: Backoff,
    conflicts: Conflicts,
}

impl<W: Work> Loop<W> {
    async fn run(mut self) -> Result<W::Answer, CommitError> {
        let what = self.work.what();
        let mut duplicates = 0;
        loop {
            let failure = match self.once(&what).await {
                Ok(outcome) => return outcome,
                Err(failure) => failure,
            };
            duplicates += u32::from(matches!(failure, Failure::Duplicate(_)));
            let again = failure.is_transient() && duplicates < MAX_DUPLICATES;
            if failure.is_conflict() {
                self.conflicts.met(&self.db).await;
            }
            tracing::debug!(again, error = failure.describe(), "a transaction failed: {what}");
            if !again || !self.backoff.wait(self.deadline).await {
                return Err(CommitError::NotCommitted(failure.into_store(&what)));
            }
            self.db.retries().count(reason_of(&failure));
        }
    }

    /// One try: an outcome, or a failure after which nothing is written. A session that is dropped in mid-transaction
    /// aborts it in the background; after an error of the server there is nothing left to abort.
    async fn once(&mut self, what: &str) -> Result<Result<W::Answer, CommitError>, Failure> {
        let mut session = self.db.session().await?;
        session.start_transaction().await?;
        let answer = self.work.attempt(&self.db, &mut session).await?;
        if !self.gate.open() {
            return Err(StoreError::Unavailable { what: format!("{what}: too late"), source: None }.into());
        }
        Ok(self.commit(what, &mut session).await?.map(|()| answer))
    }

    async fn commit(
        &mut self,
        what: &str,
        session: &mut ClientSession,
    ) -> Result<Result<(), CommitError>, Failure> {
        loop {
            let Err(error) = session.commit_transaction().await else {
                self.db.saw(session);
                return Ok(Ok(()));
            };
            let failure = Failure::from(error);
            tracing::debug!(error = failure.describe(), "a commit failed: {what}");
            // Some errors carry neither label. Whether the commit happened is then just as unknown, and asking again
            // would bring the same error.
            let unknown = failure.is_unknown_commit();
            if !unknown && failure.is_transient() {
                self.gate.failed();
                return Err(failure);
            }
            if !unknown || !self.backoff.wait(self.deadline).await {
                return Ok(Err(CommitError::Unknown(failure.into_store(what))));
            }
            self.db.retries().count(Retry::UnknownCommit);
        }
    }
}

/// Why a transaction is begun anew.
fn reason_of(failure: &Failure) -> Retry {
    match failure {
        Failure::Duplicate(_) => Retry::DuplicateKey,
        _ if failure.is_conflict() => Retry::WriteConflict,
        Failure::Driver(_) | Failure::Store(_) => Retry::Transient,
    }
}

/// Pauses between tries: random up to a ceiling that doubles, so that writers on several nodes fall out of step.
#[derive(Default)]
struct Backoff(u32);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(250);

    /// Waits; `false` if the deadline would pass.
    async fn wait(&mut self, deadline: Instant) -> bool {
        let ceiling = (Self::FIRST * 2_u32.saturating_pow(self.0.min(10))).min(Self::LONGEST);
        self.0 += 1;
        let until = Instant::now() + random_part(ceiling);
        let in_time = until < deadline;
        if in_time {
            sleep(until - Instant::now()).await;
        }
        in_time
    }
}

/// Somewhere between nothing and the whole. It decides nothing, so it need not be repeatable.
fn random_part(whole: Duration) -> Duration {
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
    fn once_the_caller_was_told_not_committed_no_commit_is_sent() {
        let gate = Gate::default();
        assert!(matches!(gate.give_up(late()), CommitError::NotCommitted(_)));
        assert!(!gate.open());
    }

    #[test]
    fn a_commit_under_way_is_unknown_until_it_is_known_to_have_failed() {
        let gate = Gate::default();
        assert!(gate.open());
        assert!(matches!(gate.give_up(late()), CommitError::Unknown(_)));
        let gate = Gate::default();
        assert!(gate.open());
        gate.failed();
        assert!(matches!(gate.give_up(late()), CommitError::NotCommitted(_)));
    }

    #[test]
    fn random_parts_stay_below_the_whole_and_differ() {
        let parts: Vec<_> = (0..50).map(|_| random_part(Duration::from_millis(4))).collect();
        assert!(parts.iter().all(|part| *part < Duration::from_millis(4)));
        assert!(parts.iter().any(|part| part != &parts[0]));
    }
}
