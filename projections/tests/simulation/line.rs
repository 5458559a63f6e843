//! The line between one process and the database: every call goes through here and meets its fate.

use std::future::pending;
use std::sync::{Arc, Mutex};

use store::backend::CommitError;
use store::{ApplyError, StoreError};
use tokio::time::{Instant, sleep, sleep_until};

use crate::board::{Board, Ears};
use crate::life::Life;
use crate::weather::Fate;
use crate::world::World;

pub(crate) struct Line {
    pub(crate) world: Arc<World>,
    pub(crate) node: usize,
    pub(crate) life: Arc<Life>,
    pub(crate) board: Arc<Board>,
    thaws: Mutex<Instant>,
}

/// What a process is told of a call that was not answered as it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not done.
    Refused(StoreError),
    /// It was done, or will be, or not.
    Unknown(StoreError),
}

impl Line {
    /// The line of a new process.
    pub(crate) fn new(world: &Arc<World>, node: usize) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            node,
            life: Arc::default(),
            board: Arc::default(),
            thaws: Mutex::new(Instant::now()),
        })
    }

    pub(crate) fn ears(&self, deaf: bool) -> Ears {
        Ears::new(Arc::clone(&self.board), Arc::clone(&self.life), deaf)
    }

    /// A call that moves the log or a read model.
    pub(crate) async fn change<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        let world = Arc::clone(&self.world);
        let watched = async move {
            let answer = work.await;
            world.moved().await;
            answer
        };
        self.carry(what, true, watched).await
    }

    /// A call that changes something, but nothing of the log or a read model.
    pub(crate) async fn note<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        self.carry(what, true, work).await
    }

    /// A call that only asks.
    pub(crate) async fn call<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        self.carry(what, false, work).await
    }

    async fn carry<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        what: &'static str,
        changes: bool,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        let World { weather, chance, trace, .. } = &*self.world;
        self.world.call(self.node, what);
        self.travel().await;
        let fate = weather.fate(chance, changes);
        trace.step(self.node, what, fate.name());
        let refused = || Err(Failure::Refused(unavailable(what)).into());
        let unknown = || Err(Failure::Unknown(unavailable(what)).into());
        let answer = match fate {
            Fate::Fine => work.await,
            Fate::Refused => refused(),
            Fate::Lost => {
                drop(work.await);
                unknown()
            }
            Fate::Phantom => unknown(),
            Fate::Late => {
                self.leave_behind(work);
                unknown()
            }
            Fate::CrashBefore => self.crash(unknown()),
            Fate::CrashAfter => self.crash(work.await),
            Fate::CrashLate => {
                self.leave_behind(work);
                self.crash(unknown())
            }
        };
        self.travel().await;
        trace.step(self.node, what, "is answered");
        answer
    }

    /// To the database, or back from it.
    async fn travel(&self) {
        let World { weather, chance, late, .. } = &*self.world;
        if let Some(hold) = weather.hold(chance) {
            let _held = late.begin();
            // Either nothing gets through to this process, or only this call is held up.
            if chance.happens(500) {
                let mut thaws = self.thaws.lock().unwrap();
                *thaws = (*thaws).max(Instant::now() + hold);
            } else {
                sleep(hold).await;
            }
        }
        let delay = weather.delay(chance);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let thaws = *self.thaws.lock().unwrap();
        if thaws > Instant::now() {
            let _held = late.begin();
            sleep_until(thaws).await;
        }
        if self.life.is_over() || self.world.is_worn_out() {
            pending::<()>().await;
        }
    }

    /// What was sent arrives some time, whatever becomes of the sender.
    fn leave_behind(&self, work: impl Future<Output: Send> + Send + 'static) {
        let world = Arc::clone(&self.world);
        let late = world.late.begin();
        let delay = *world.chance.pick(&[10, 100, 100, 1000, 4000]);
        tokio::spawn(async move {
            sleep(world.chance.millis(1..=delay)).await;
            drop(work.await);
            drop(late);
        });
    }

    fn crash<T>(&self, answer: T) -> T {
        self.world.tally.count("crashes at a call");
        self.life.end();
        answer
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable { what: format!("{what}: a fault of the simulation"), source: None }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let (Failure::Refused(error) | Failure::Unknown(error)) = failure;
        error
    }
}

impl From<Failure> for CommitError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => Self::NotCommitted(error),
            Failure::Unknown(error) => Self::Unknown(error),
        }
    }
}

impl From<Failure> for ApplyError {
    fn from(failure: Failure) -> Self {
        Self::Store(failure.into())
    }
}
