//! The line between one process and the database: every call goes through here and meets its outcome.

use std::future::pending;
use std::sync::{Arc, Mutex};

use store::backend::CommitError;
use store::{ApplyError, StoreError};
use tokio::time::{Instant, sleep, sleep_until};

use crate::fault_injector::CallOutcome;
use crate::lifetime::ProcessLifetime;
use crate::notifications::{NodeProgress, Notifications};
use crate::shared_state::Simulation;

pub(crate) struct Connection {
    pub(crate) simulation: Arc<Simulation>,
    pub(crate) node: usize,
    pub(crate) lifetime: Arc<ProcessLifetime>,
    pub(crate) board: Arc<NodeProgress>,
    blocked_until: Mutex<Instant>,
}

/// What a process is told of a call that was not answered as it should.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// It was not done.
    Refused(StoreError),
    /// It was done, or will be, or not.
    Unknown(StoreError),
}

impl Connection {
    /// The line of a new process.
    pub(crate) fn new(simulation: &Arc<Simulation>, node: usize) -> Arc<Self> {
        Arc::new(Self {
            simulation: Arc::clone(simulation),
            node,
            lifetime: Arc::default(),
            board: Arc::default(),
            blocked_until: Mutex::new(Instant::now()),
        })
    }

    pub(crate) fn notifications(&self, notifications_blocked: bool) -> Notifications {
        Notifications::new(Arc::clone(&self.board), Arc::clone(&self.lifetime), notifications_blocked)
    }

    /// A call that moves the log or a read model.
    pub(crate) async fn write<T: Send + 'static, E: From<CallFailure> + Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        let simulation = Arc::clone(&self.simulation);
        let watched = async move {
            let answer = work.await;
            simulation.check_and_notify().await;
            answer
        };
        self.call_with_faults(what, true, watched).await
    }

    /// A call that changes something, but nothing of the log or a read model.
    pub(crate) async fn write_unobserved<T: Send + 'static, E: From<CallFailure> + Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        self.call_with_faults(what, true, work).await
    }

    /// A call that only asks.
    pub(crate) async fn read<T: Send + 'static, E: From<CallFailure> + Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        self.call_with_faults(what, false, work).await
    }

    async fn call_with_faults<T: Send + 'static, E: From<CallFailure> + Send + 'static>(
        &self,
        what: &'static str,
        changes: bool,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        let Simulation { faults, random, trace, .. } = &*self.simulation;
        self.simulation.call(self.node, what);
        self.network_delay().await;
        let outcome = faults.call_outcome(random, changes);
        trace.step(self.node, what, outcome.name());
        let refused = || Err(CallFailure::Refused(unavailable(what)).into());
        let unknown = || Err(CallFailure::Unknown(unavailable(what)).into());
        let answer = match outcome {
            CallOutcome::Success => work.await,
            CallOutcome::Refused => refused(),
            CallOutcome::Lost => {
                drop(work.await);
                unknown()
            }
            CallOutcome::Phantom => unknown(),
            CallOutcome::Late => {
                self.apply_later(work);
                unknown()
            }
            CallOutcome::CrashBefore => self.crash(unknown()),
            CallOutcome::CrashAfter => self.crash(work.await),
            CallOutcome::CrashLate => {
                self.apply_later(work);
                self.crash(unknown())
            }
        };
        self.network_delay().await;
        trace.step(self.node, what, "is answered");
        answer
    }

    /// To the database, or back from it.
    async fn network_delay(&self) {
        let Simulation { faults, random, outstanding, .. } = &*self.simulation;
        if let Some(hold) = faults.stall(random) {
            let _held = outstanding.begin();
            // Either nothing gets through to this process, or only this call is held up.
            if random.permille(500) {
                let mut blocked_until = self.blocked_until.lock().unwrap();
                *blocked_until = (*blocked_until).max(Instant::now() + hold);
            } else {
                sleep(hold).await;
            }
        }
        let delay = faults.delay(random);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let blocked_until = *self.blocked_until.lock().unwrap();
        if blocked_until > Instant::now() {
            let _held = outstanding.begin();
            sleep_until(blocked_until).await;
        }
        if self.lifetime.is_over() || self.simulation.call_limit_reached() {
            pending::<()>().await;
        }
    }

    /// What was sent arrives some time, whatever becomes of the sender.
    fn apply_later(&self, work: impl Future<Output: Send> + Send + 'static) {
        let simulation = Arc::clone(&self.simulation);
        let call = simulation.outstanding.begin();
        let delay = *simulation.random.pick(&[10, 100, 100, 1000, 4000]);
        tokio::spawn(async move {
            sleep(simulation.random.millis(1..=delay)).await;
            drop(work.await);
            drop(call);
        });
    }

    fn crash<T>(&self, answer: T) -> T {
        self.simulation.coverage.count("crashes at a call");
        self.lifetime.end();
        answer
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable { what: format!("{what}: a fault of the simulation"), source: None }
}

impl From<CallFailure> for StoreError {
    fn from(failure: CallFailure) -> Self {
        let (CallFailure::Refused(error) | CallFailure::Unknown(error)) = failure;
        error
    }
}

impl From<CallFailure> for CommitError {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Refused(error) => Self::NotCommitted(error),
            CallFailure::Unknown(error) => Self::Unknown(error),
        }
    }
}

impl From<CallFailure> for ApplyError {
    fn from(failure: CallFailure) -> Self {
        Self::Store(failure.into())
    }
}
