//! The time limit of a request. Each step has its own timeout; this limit keeps their sum below the ten
//! seconds within which every request is answered, whatever the database does.

use std::time::Duration;

use axum::http::Extensions;
use tokio::time::{Instant, timeout_at};

use super::api_error::ApiError;

/// Leaves a second for the way to the client and for a busy machine.
const MAX_DURATION: Duration = Duration::from_secs(9);

/// When the request has to be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit(Instant);

impl TimeLimit {
    pub(crate) fn from_now() -> Self {
        Self(Instant::now() + MAX_DURATION)
    }

    /// The limit that the outermost layer set.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_else(Self::from_now)
    }

    /// Extends the limit, by time that was spent waiting for the client.
    pub(crate) fn extend(self, by: Duration) -> Self {
        Self(self.0 + by)
    }

    /// The result of `work`; `None` at the limit.
    pub(crate) async fn within<T>(self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.0, work).await.ok()
    }

    /// The result of a read; at the limit, [`ApiError::Unavailable`].
    pub(crate) async fn read<T>(
        self,
        what: &str,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let late = || ApiError::Unavailable(format!("reading {what} timed out after {MAX_DURATION:?}"));
        self.within(work).await.unwrap_or_else(|| Err(late()))
    }

    /// The result of a write; at the limit, [`ApiError::OutcomeUnknown`], because a write that was handed to
    /// the store is still executed. After the limit no write is started.
    pub(crate) async fn write<T>(
        self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        if Instant::now() >= self.0 {
            let cause = format!("write not started within {MAX_DURATION:?}");
            return Err(ApiError::Unavailable(cause));
        }
        let late = || ApiError::OutcomeUnknown(format!("write timed out after {MAX_DURATION:?}"));
        self.within(work).await.unwrap_or_else(|| Err(late()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timed_out_read_is_unavailable_and_a_timed_out_write_is_unknown() {
        let limit = TimeLimit::from_now();
        let known = limit.read("the caller", async { Ok(7) }).await;
        assert_eq!(known.unwrap(), 7);
        let started = Instant::now();
        let late = limit.write(pending::<Result<(), _>>()).await;
        assert!(matches!(late, Err(ApiError::OutcomeUnknown(_))), "{late:?}");
        assert_eq!(started.elapsed(), MAX_DURATION);
        let late = limit.read("the caller", pending::<Result<(), _>>()).await;
        assert!(matches!(late, Err(ApiError::Unavailable(_))), "{late:?}");
        let never = limit.write(async { panic!("started after the limit") }).await;
        assert!(matches!(never, Err::<(), _>(ApiError::Unavailable(_))), "{never:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_spent_waiting_for_the_client_does_not_count() {
        let limit = TimeLimit::from_now();
        sleep(MAX_DURATION).await;
        let known = limit.extend(Duration::from_secs(1)).write(async { Ok(7) }).await;
        assert_eq!(known.unwrap(), 7);
    }
}
