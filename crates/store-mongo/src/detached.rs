//! Driver work in tasks of its own. The driver's futures must be polled to their end (its README, RUST-937), yet a
//! caller may hang up at any time, and nobody may wait forever for a server that has gone silent.

use std::time::Duration;

use store::StoreError;

/// The longest wait for an answer that one person or one request is waiting for.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// The longest wait for an answer that may have to look at the whole log.
pub(crate) const SCAN_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs `work` to its end, whether anybody waits for it or not.
pub(crate) async fn spawn_detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|stopped| Err(StoreError::unavailable("the work was stopped", stopped)))
}

/// Runs `work` to its end, but waits for it only so long.
pub(crate) async fn spawn_with_timeout<T: Send + 'static>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, spawn_detached(work)).await.unwrap_or_else(|_| {
        let what = format!("{what}: MongoDB has not answered for {} s", limit.as_secs());
        Err(StoreError::Unavailable { what, source: None })
    })
}
