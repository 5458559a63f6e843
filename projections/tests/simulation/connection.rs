//! The connection between one process and the database, where faults are injected into every call.

use std::future::pending;
use std::sync::{Arc, Mutex};

use store::backend::CommitError;
use store::{StoreError, WriteError};
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

/// The error a process receives for a failed call.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// Not executed.
    Refused(StoreError),
    /// Executed, or not, or later.
    Unknown(StoreError),
}

impl Connection {
    /// The connection of a new process.
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

    /// A call that changes neither the log nor a read model, but something else.
    pub(crate) async fn write_unobserved<T: Send + 'static, E: From<CallFailure> + Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        self.call_with_faults(what, true, work).await
    }

    /// A read-only call.
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

    /// The delay of a message to the database or back.
    async fn network_delay(&self) {
        let Simulation { faults, random, outstanding, .. } = &*self.simulation;
        if let Some(hold) = faults.stall(random) {
            let _held = outstanding.begin();
            // Either the whole process is cut off, or only this call is delayed.
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

    /// Executes a request later, whether or not the sender is still alive.
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

impl From<CallFailure> for WriteError {
    fn from(failure: CallFailure) -> Self {
        Self::Store(failure.into())
    }
}
