//! How long a request may take. Each step of it has a bound of its own; this one keeps their sum below the ten seconds
//! within which clients are promised an answer, whatever the database does.

use std::time::Duration;

use axum::http::Extensions;
use tokio::time::{Instant, timeout_at};

use super::api_error::ApiError;

const MAX_DURATION: Duration = Duration::from_millis(9_500);

/// When a request that came at some time has to be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit(Instant);

impl TimeLimit {
    /// That of a request which comes now.
    pub(crate) fn from_now() -> Self {
        Self(Instant::now() + MAX_DURATION)
    }

    /// That of the request with these extensions, where the outermost layer has put it.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_else(Self::from_now)
    }

    /// As much later: time for which the client was waited for is not the service's own.
    pub(crate) fn extend(self, by: Duration) -> Self {
        Self(self.0 + by)
    }

    /// What comes of `work` if that is known in time.
    pub(crate) async fn within<T>(self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.0, work).await.ok()
    }

    /// What comes of reading something if that is known in time.
    pub(crate) async fn read<T>(
        self,
        what: &str,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let late =
            || ApiError::Unavailable { cause: format!("{what} was not known within {MAX_DURATION:?}") };
        self.within(work).await.unwrap_or_else(|| Err(late()))
    }

    /// What a write has come to if that is known in time. What was handed over by then is done all the same, waited for
    /// or not; nothing is begun once the time is up.
    pub(crate) async fn write<T>(
        self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        if Instant::now() >= self.0 {
            let cause = format!("it could not be begun within {MAX_DURATION:?}; nothing was done");
            return Err(ApiError::Unavailable { cause });
        }
        let late = || ApiError::OutcomeUnknown { cause: format!("it was not known within {MAX_DURATION:?}") };
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
        let known = limit.read("who calls", async { Ok(7) }).await;
        assert_eq!(known.unwrap(), 7);
        let begun = Instant::now();
        let late = limit.write(pending::<Result<(), _>>()).await;
        assert!(matches!(late, Err(ApiError::OutcomeUnknown { .. })), "{late:?}");
        assert_eq!(begun.elapsed(), MAX_DURATION);
        let late = limit.read("who calls", pending::<Result<(), _>>()).await;
        assert!(matches!(late, Err(ApiError::Unavailable { .. })), "{late:?}");
        let never = limit.write(async { panic!("begun too late") }).await;
        assert!(matches!(never, Err::<(), _>(ApiError::Unavailable { .. })), "{never:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_spent_waiting_for_the_client_does_not_count() {
        let limit = TimeLimit::from_now();
        sleep(MAX_DURATION).await;
        let known = limit.extend(Duration::from_secs(1)).write(async { Ok(7) }).await;
        assert_eq!(known.unwrap(), 7);
    }
}
