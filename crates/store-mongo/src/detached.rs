//! Runs driver calls in their own tasks. The driver's futures must be polled to completion (its README,
//! RUST-937), but a caller may be cancelled at any time and must not wait forever for a silent server.

use std::time::Duration;

use store::StoreError;
use tracing::Instrument;

/// How long a request waits for the database.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a read that may scan the whole log waits for the database.
pub(crate) const SCAN_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs `work` to completion in the caller's span, even if the caller is cancelled.
pub(crate) async fn spawn_detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(work.in_current_span())
        .await
        .unwrap_or_else(|stopped| Err(StoreError::unavailable("the database task was stopped", stopped)))
}

/// Runs `work` to completion, but waits at most `limit` for its result.
pub(crate) async fn spawn_with_timeout<T: Send + 'static>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, spawn_detached(work)).await.unwrap_or_else(|_| {
        let what = format!("{what}: no answer from MongoDB within {} s", limit.as_secs());
        Err(StoreError::Unavailable { what, source: None })
    })
}
