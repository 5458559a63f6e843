//! One request and its answer, until the last byte of the answer is sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::AbortHandle;
use futures::task::AtomicWaker;
use tokio::time::Instant;

use super::connection::{Connection, Progress};
use super::memory::Charge;

/// Held by the handler, then by the answer's body, then by each part of it that is unsent.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) connection: Arc<Connection>,
    /// Counted as a request in progress.
    is_counted: bool,
    /// The task of an HTTP/2 stream.
    task: Option<AbortHandle>,
    unsent: AtomicUsize,
    /// When a part of the answer was handed over or sent.
    progress: Mutex<Instant>,
    sent: AtomicWaker,
    /// For the request's body.
    _body: Option<Charge>,
}

impl Exchange {
    /// Begins a request; `None` if too many are in progress, or their bodies take too much memory.
    pub(crate) fn begin(connection: &Arc<Connection>, body_size: usize, is_http2: bool) -> Option<Arc<Self>> {
        let [all, address] = &connection.usage;
        let body = if body_size > 0 { Some(Charge::take(connection, body_size)?) } else { None };
        if !address.requests.try_add(1) {
            return None;
        }
        if !all.requests.try_add(1) {
            address.requests.subtract(1);
            return None;
        }
        Some(Self::new(connection, true, body, is_http2))
    }

    /// A request that is refused, and whose answer says so.
    pub(crate) fn refused(connection: &Arc<Connection>) -> Arc<Self> {
        Self::new(connection, false, None, false)
    }

    fn new(
        connection: &Arc<Connection>,
        is_counted: bool,
        body: Option<Charge>,
        is_http2: bool,
    ) -> Arc<Self> {
        let (task, registration) = is_http2.then(Connection::task_handle).unzip();
        let exchange = Arc::new(Self {
            connection: Arc::clone(connection),
            is_counted,
            task,
            unsent: AtomicUsize::new(0),
            progress: Mutex::new(Instant::now()),
            sent: AtomicWaker::new(),
            _body: body,
        });
        let progress: Arc<dyn Progress> = exchange.clone();
        connection.add_exchange(Arc::downgrade(&progress), registration);
        exchange
    }

    fn made_progress(&self) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// A part of the answer waits to be sent.
    pub(crate) fn add_unsent(&self, bytes: usize) {
        self.unsent.fetch_add(bytes, Ordering::AcqRel);
        self.made_progress();
    }

    /// Bytes were sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.made_progress();
        self.discarded(bytes);
    }

    /// Bytes will not be sent any more.
    pub(crate) fn discarded(&self, bytes: usize) {
        if self.unsent.fetch_sub(bytes, Ordering::AcqRel) == bytes {
            self.sent.wake();
        }
    }

    /// Ready once nothing is unsent.
    pub(crate) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.sent.register(cx.waker());
        if self.unsent.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Progress for Exchange {
    fn is_stalled(&self, now: Instant, limit: Duration) -> bool {
        let progress = *self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        self.unsent.load(Ordering::Acquire) > 0 && now >= progress + limit
    }

    fn reset(&self) -> bool {
        self.task.as_ref().is_some_and(|task| {
            let is_first = !task.is_aborted();
            task.abort();
            is_first
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.is_counted {
            for usage in &self.connection.usage {
                usage.requests.subtract(1);
            }
        }
        self.connection.remove_ended_exchanges();
    }
}
