//! Threads that own the connections: SQLite never blocks an async runtime, and a cancelled caller never
//! interrupts a write.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use store::StoreError;
use tokio::sync::oneshot;
use tracing::Span;

use crate::managed_connection::ManagedConnection;

/// Work for a connection, and the span of its caller.
struct Job {
    span: Span,
    run: Box<dyn FnOnce(&mut ManagedConnection) + Send>,
}

/// A job queue with one thread per connection.
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

    /// Runs a job, even if the caller is cancelled.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut ManagedConnection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.submit(move |session| drop(answer.send(job(session))))?;
        outcome.await.map_err(|_| worker_stopped())
    }

    /// Runs a job, unless the caller is cancelled before it starts.
    pub(crate) async fn run_unless_cancelled<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut ManagedConnection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.submit(move |session| {
            if !answer.is_closed() {
                drop(answer.send(job(session)));
            }
        })?;
        outcome.await.map_err(|_| worker_stopped())
    }

    fn submit(&self, run: impl FnOnce(&mut ManagedConnection) + Send + 'static) -> Result<(), StoreError> {
        let job = Job { span: Span::current(), run: Box::new(run) };
        let sent = self.queue.as_ref().map(|queue| queue.send(job).is_ok());
        if sent == Some(true) { Ok(()) } else { Err(worker_stopped()) }
    }
}

/// Completes the queued jobs, then closes the connections.
impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A panic of the thread was already logged.
            drop(thread.join());
        }
    }
}

/// Starts a named thread.
pub(crate) fn start_thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let started: io::Result<_> = thread::Builder::new().name(name.to_owned()).spawn(body);
    started.map_err(|error| StoreError::unavailable("starting a database thread failed", error))
}

fn work(mut session: ManagedConnection, jobs: &Mutex<Receiver<Job>>) {
    loop {
        match next(jobs, session.next_maintenance()) {
            Ok(Job { span, run }) => {
                let _in_span = span.enter();
                if catch_unwind(AssertUnwindSafe(|| run(&mut session))).is_err() {
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
        what: "a database thread stopped because of an internal error".to_owned(),
        source: None,
    }
}
