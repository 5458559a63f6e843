//! One connection: its state, and what it holds.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::future::{AbortHandle, AbortRegistration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::{MAX_CONNECTION_MEMORY, Usage};
use super::meter::Meter;

/// For the first bytes of a connection, which tell the protocol.
pub(crate) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the head of a request, from its first byte.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For a connection without requests. It exceeds the idle timeout of proxies, commonly a minute, so that they
/// do not reuse a connection that is being closed.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may take nothing of an answer on HTTP/2, where one connection has many.
pub(crate) const STREAM_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The same on HTTP/1. It leaves slow subscribers the time to read why their stream ends.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// The same while the server stops, and how long a connection without requests may stay open then.
pub(crate) const STALL_TIMEOUT_AT_SHUTDOWN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    /// No request for a while.
    Idle,
    /// The place is needed for another connection.
    Evicted,
    /// The protocol or the head of a request was not sent in time.
    HeadTimeout,
    /// The client does not read.
    Stalled,
    Shutdown,
}

/// A request in progress, as its connection sees it.
pub(super) trait Progress: fmt::Debug + Send + Sync {
    /// Whether the client has taken nothing of what is unsent for this long.
    fn is_stalled(&self, now: Instant, limit: Duration) -> bool;
    /// Resets the HTTP/2 stream. Whether that is possible: not in HTTP/1, and not after the end of its task.
    fn reset(&self) -> bool;
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) id: u64,
    /// Of all clients, and of those of the same address.
    pub(super) usage: [Arc<Usage>; 2],
    memory: Meter,
    activity: Mutex<Activity>,
    /// Cancelled to finish the requests in progress and accept no more.
    pub(crate) graceful: CancellationToken,
    /// Cancelled to close the connection at once.
    pub(crate) abort: CancellationToken,
}

#[derive(Debug)]
struct Activity {
    protocol: Option<Protocol>,
    /// Since when there is no request; while there is one, of no meaning.
    idle_since: Instant,
    /// When the first byte of an incomplete head arrived.
    head_since: Option<Instant>,
    /// Since when the socket takes no more bytes.
    blocked_since: Option<Instant>,
    exchanges: Vec<Weak<dyn Progress>>,
    /// For the task of the last HTTP/2 stream, which is spawned next.
    task: Option<AbortRegistration>,
}

impl Connection {
    pub(super) fn new(id: u64, all: Arc<Usage>, address: Arc<Usage>) -> Self {
        Self {
            id,
            usage: [all, address],
            memory: Meter::new(MAX_CONNECTION_MEMORY),
            activity: Mutex::new(Activity {
                protocol: None,
                idle_since: Instant::now(),
                head_since: None,
                blocked_since: None,
                exchanges: Vec::new(),
                task: None,
            }),
            graceful: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }

    /// The memory that is charged for this connection: of itself, of its address, of all.
    pub(super) fn memory_meters(&self) -> [&Meter; 3] {
        let [all, address] = &self.usage;
        [&self.memory, &address.memory, &all.memory]
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_protocol(&self, protocol: Protocol) {
        let mut activity = self.activity();
        activity.protocol = Some(protocol);
        activity.idle_since = Instant::now();
    }

    /// The first byte of a head has arrived.
    pub(crate) fn head_begun(&self) {
        self.activity().head_since.get_or_insert_with(Instant::now);
    }

    pub(crate) fn head_complete(&self) {
        let mut activity = self.activity();
        activity.head_since = None;
        activity.idle_since = Instant::now();
    }

    /// Whether the socket took bytes.
    pub(crate) fn written(&self, is_blocked: bool) {
        let mut activity = self.activity();
        if is_blocked {
            activity.blocked_since.get_or_insert_with(Instant::now);
        } else {
            activity.blocked_since = None;
        }
    }

    pub(super) fn add_exchange(&self, exchange: Weak<dyn Progress>, task: Option<AbortRegistration>) {
        let mut activity = self.activity();
        activity.exchanges.push(exchange);
        activity.task = task;
    }

    pub(super) fn remove_ended_exchanges(&self) {
        let mut activity = self.activity();
        activity.exchanges.retain(|exchange| exchange.strong_count() > 0);
        if activity.exchanges.is_empty() {
            activity.idle_since = Instant::now();
        }
    }

    /// The registration of the stream whose task is being spawned.
    pub(crate) fn take_task(&self) -> Option<AbortRegistration> {
        self.activity().task.take()
    }

    pub(super) fn is_http2(&self) -> bool {
        self.activity().protocol == Some(Protocol::Http2)
    }

    /// Since when the connection has had no request; `None` if it has one. A request whose head is incomplete
    /// is none yet.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let activity = self.activity();
        activity.exchanges.is_empty().then_some(activity.idle_since)
    }

    /// Why the connection has to be closed now, if it has. Resets streams that are stalled.
    pub(super) fn check(&self, now: Instant, is_stopping: bool) -> Option<CloseReason> {
        let activity = self.activity();
        let stall = match activity.protocol {
            _ if is_stopping => STALL_TIMEOUT_AT_SHUTDOWN,
            Some(Protocol::Http2) => STREAM_STALL_TIMEOUT,
            Some(Protocol::Http1) | None => STALL_TIMEOUT,
        };
        let is_over = |since: Option<Instant>, limit| since.is_some_and(|since| now >= since + limit);
        if is_over(activity.blocked_since, stall) {
            return Some(CloseReason::Stalled);
        }
        if is_over(activity.head_since, HEAD_TIMEOUT) {
            return Some(CloseReason::HeadTimeout);
        }
        if !activity.exchanges.is_empty() {
            let exchanges: Vec<_> = activity.exchanges.iter().filter_map(Weak::upgrade).collect();
            // The last reference may be dropped here, which locks the activity.
            drop(activity);
            let stalled = exchanges.iter().filter(|exchange| exchange.is_stalled(now, stall));
            // A stream without a task has left its last bytes to the connection.
            let left = stalled.filter(|exchange| !exchange.reset()).count();
            return (left > 0).then_some(CloseReason::Stalled);
        }
        let (limit, reason) = match activity.protocol {
            _ if is_stopping => (STALL_TIMEOUT_AT_SHUTDOWN, CloseReason::Shutdown),
            _ if activity.head_since.is_some() => return None,
            None => (FIRST_BYTE_TIMEOUT, CloseReason::HeadTimeout),
            Some(_) => (IDLE_TIMEOUT, CloseReason::Idle),
        };
        is_over(Some(activity.idle_since), limit).then_some(reason)
    }

    /// How the task of a new HTTP/2 stream is ended.
    pub(super) fn task_handle() -> (AbortHandle, AbortRegistration) {
        AbortHandle::new_pair()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_http2() {
            let [_, address] = &self.usage;
            address.http2.subtract(1);
        }
    }
}
