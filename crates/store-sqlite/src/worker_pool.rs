//! Threads that own the connections: SQLite never blocks an async runtime, and a cancelled caller never
//! interrupts a write.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use store::StoreError;
use tokio::sync::oneshot;
use tracing::Span;

use crate::job_queue::{JobQueue, Next, Priority};
use crate::managed_connection::ManagedConnection;

/// Whether a job has ended, or gives way to appends and has to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JobStatus {
    Ended,
    GivesWay,
}

/// Work for a connection, and the span of its caller.
struct Job {
    span: Span,
    run: Box<dyn FnMut(&mut ManagedConnection) -> JobStatus + Send>,
}

/// A job queue with one thread per connection.
pub(crate) struct WorkerPool {
    queue: Arc<JobQueue<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl WorkerPool {
    /// Starts the threads.
    pub(crate) fn start(name: &str, sessions: Vec<ManagedConnection>) -> Result<Self, StoreError> {
        // If a thread cannot be started, dropping the pool ends those before it.
        let mut pool = Self { queue: Arc::default(), threads: Vec::new() };
        for session in sessions {
            let queue = Arc::clone(&pool.queue);
            pool.threads.push(start_thread(name, move || work(session, &queue))?);
        }
        Ok(pool)
    }

    /// Runs a job, even if the caller is cancelled. If it returns `None`, it is called again, after an append
    /// if one waits.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        priority: Priority,
        mut job: impl FnMut(&mut ManagedConnection) -> Option<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let mut answer = Some(answer);
        self.submit(priority, move |session| {
            let Some(result) = job(session) else { return JobStatus::GivesWay };
            drop(answer.take().map(|answer| answer.send(result)));
            JobStatus::Ended
        });
        outcome.await.map_err(|_| worker_stopped())
    }

    /// Runs a job, unless the caller is cancelled before it starts.
    pub(crate) async fn run_unless_cancelled<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut ManagedConnection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let mut waiting = Some((answer, job));
        self.submit(Priority::Normal, move |session| {
            if let Some((answer, job)) = waiting.take().filter(|(answer, _)| !answer.is_closed()) {
                drop(answer.send(job(session)));
            }
            JobStatus::Ended
        });
        outcome.await.map_err(|_| worker_stopped())
    }

    fn submit(
        &self,
        priority: Priority,
        run: impl FnMut(&mut ManagedConnection) -> JobStatus + Send + 'static,
    ) {
        self.queue.push(priority, Job { span: Span::current(), run: Box::new(run) });
    }
}

/// Completes the queued jobs, then closes the connections.
impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.queue.close();
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

fn work(mut session: ManagedConnection, queue: &JobQueue<Job>) {
    loop {
        match queue.next(session.next_maintenance()) {
            Next::Run(priority, mut job) => match run(&mut session, &mut job) {
                JobStatus::Ended => {}
                JobStatus::GivesWay => queue.put_back(priority, job),
            },
            Next::Due => {}
            Next::Closed => return,
        }
        session.maintain_wal();
    }
}

fn run(session: &mut ManagedConnection, job: &mut Job) -> JobStatus {
    let _in_span = job.span.enter();
    catch_unwind(AssertUnwindSafe(|| (job.run)(session))).unwrap_or_else(|_| {
        tracing::error!("a database job panicked; its transaction is rolled back");
        session.disconnect();
        JobStatus::Ended
    })
}

pub(crate) fn worker_stopped() -> StoreError {
    StoreError::Unavailable {
        what: "a database thread stopped because of an internal error".to_owned(),
        source: None,
    }
}
