//! Resolves host names, with a bound on concurrent lookups.
//!
//! A lookup occupies a thread of the blocking pool, which the whole service shares, until the resolver of the
//! system gives up: also if no task waits for the result any more. So a permit is held until the lookup has ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::send_error::SendError;

/// Concurrent lookups on behalf of waiting clients.
const MAX_CLIENT_LOOKUPS: usize = 32;
/// Concurrent lookups of the delivery workers: far fewer than the threads of the blocking pool, 512.
const MAX_WORKER_LOOKUPS: usize = 128;
/// How long a delivery waits for its turn. Shorter than the limit for connecting, which includes it.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);

/// The lookups of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Lookups {
    for_clients: Arc<Semaphore>,
    for_workers: Arc<Semaphore>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            for_clients: Arc::new(Semaphore::new(MAX_CLIENT_LOOKUPS)),
            for_workers: Arc::new(Semaphore::new(MAX_WORKER_LOOKUPS)),
        }
    }
}

impl Lookups {
    /// A permit for one lookup on behalf of a waiting client; `None` if too many are running.
    pub(super) fn try_client_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.for_clients).try_acquire_owned().ok()
    }

    /// A permit for one lookup of a delivery worker.
    ///
    /// # Errors
    /// [`SendError::TooManyLookups`] if none ends in time.
    pub(super) async fn worker_permit(&self) -> Result<OwnedSemaphorePermit, SendError> {
        let permit = timeout(TURN_TIMEOUT, Arc::clone(&self.for_workers).acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or(SendError::TooManyLookups)
    }
}

/// The addresses of a host. The permit is released when the lookup ends, even if the caller has stopped waiting.
pub(super) async fn lookup(
    name: &str,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Vec<SocketAddr>, SendError> {
    let name = name.to_owned();
    let resolving = async move { Ok(lookup_host((name.as_str(), 0)).await?.collect::<Vec<_>>()) };
    let found = until_ended(resolving, permit).await.map_err(|_| SendError::Unresolved)?;
    if found.is_empty() { Err(SendError::Unresolved) } else { Ok(found) }
}

/// Runs a lookup in a task of its own, which holds the permit.
async fn until_ended<T: Send + 'static>(
    lookup: impl Future<Output = std::io::Result<T>> + Send + 'static,
    permit: Option<OwnedSemaphorePermit>,
) -> std::io::Result<T> {
    let running = tokio::spawn(async move {
        let found = lookup.await;
        drop(permit);
        found
    });
    running.await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn abandoned_lookups_count_until_they_end() {
        let (lookups, released) = (Lookups::default(), Arc::new(Notify::new()));
        let running = Arc::new(AtomicUsize::new(0));
        let mut refused = 0;
        for _ in 0..2 * MAX_WORKER_LOOKUPS {
            let Ok(permit) = lookups.worker_permit().await else {
                refused += 1;
                continue;
            };
            let (running, released) = (Arc::clone(&running), Arc::clone(&released));
            let hanging = async move {
                running.fetch_add(1, Ordering::SeqCst);
                released.notified().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            };
            // The delivery gives up, the lookup continues.
            let waited = timeout(Duration::from_secs(5), until_ended(hanging, Some(permit))).await;
            assert!(waited.is_err());
        }
        assert_eq!((running.load(Ordering::SeqCst), refused), (MAX_WORKER_LOOKUPS, MAX_WORKER_LOOKUPS));
        assert!(lookups.try_client_permit().is_some(), "waiting clients have lookups of their own");
        released.notify_waiters();
        drop(lookups.worker_permit().await.unwrap());
    }
}
