//! Threads that own the connections, so that SQLite never blocks an async runtime and a caller who hangs up never
//! interrupts a write.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use store::StoreError;
use tokio::sync::oneshot;

use crate::managed_connection::ManagedConnection;

type Job = Box<dyn FnOnce(&mut ManagedConnection) + Send>;

/// A queue of jobs, and one thread per session that takes them in the order they came.
pub(crate) struct WorkerPool {
    queue: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl WorkerPool {
    /// Starts the threads.
    pub(crate) fn start(name: &str, sessions: Vec<ManagedConnection>) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let start = |session| {
            let jobs = Arc::clone(&jobs);
            start_thread(name, move || work(session, &jobs))
        };
        let threads = sessions.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self { queue: Some(queue), threads })
    }

    /// Runs a job, waited for or not.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut ManagedConnection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.submit(Box::new(move |session| drop(answer.send(job(session)))))?;
        outcome.await.map_err(|_| worker_stopped())
    }

    /// Runs a job, unless its caller has hung up before its turn.
    pub(crate) async fn run_unless_cancelled<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut ManagedConnection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.submit(Box::new(move |session| {
            if !answer.is_closed() {
                drop(answer.send(job(session)));
            }
        }))?;
        outcome.await.map_err(|_| worker_stopped())
    }

    fn submit(&self, job: Job) -> Result<(), StoreError> {
        let sent = self.queue.as_ref().map(|queue| queue.send(job).is_ok());
        if sent == Some(true) { Ok(()) } else { Err(worker_stopped()) }
    }
}

/// Finishes what is queued, then closes the connections.
impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // Its panic, if any, was told when it happened.
            drop(thread.join());
        }
    }
}

/// Starts a thread of this crate.
pub(crate) fn start_thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let started: io::Result<_> = thread::Builder::new().name(name.to_owned()).spawn(body);
    started.map_err(|error| StoreError::unavailable("no thread could be started for the database", error))
}

fn work(mut session: ManagedConnection, jobs: &Mutex<Receiver<Job>>) {
    loop {
        match next(jobs, session.next_maintenance()) {
            Ok(job) => {
                if catch_unwind(AssertUnwindSafe(|| job(&mut session))).is_err() {
                    tracing::error!("a database job panicked; its transaction is rolled back");
                    session.disconnect();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        session.maintain_wal();
    }
}

fn next(jobs: &Mutex<Receiver<Job>>, due: Option<Instant>) -> Result<Job, RecvTimeoutError> {
    let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    match due {
        Some(due) => jobs.recv_timeout(due.saturating_duration_since(Instant::now())),
        None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

fn worker_stopped() -> StoreError {
    StoreError::Unavailable {
        what: "a database thread stopped at an internal error".to_owned(),
        source: None,
    }
}
