//! Bounds the age of what reads return on a replicated database. A primary that was deposed and does not know
//! it answers with old data; a linearizable read is one that it cannot answer. Doing one for each read would cost
//! a majority round trip each time, so one that succeeded counts for a while, as with the leader leases of Raft:
//! no other primary is elected within the election timeout after it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::Backend;
use crate::error::StoreError;

/// How long a confirmation counts. Must be below the election timeout of the replica set (10 s by default).
const MAX_AGE: Duration = Duration::from_secs(1);
/// A confirmation older than this is renewed before the next read, so that the read has time to be answered.
const RENEW_AFTER: Duration = Duration::from_millis(500);

/// Confirms that reads which begin after it return the newest data, if they are answered before it expires.
#[derive(Clone, Copy, Debug)]
pub struct HeadConfirmation(Option<Instant>);

impl HeadConfirmation {
    /// Of a database whose reads always return the newest data.
    pub(crate) const NOT_NEEDED: Self = Self(None);

    /// Whether a server that was replaced since may have given an answer that arrives now.
    #[must_use]
    pub fn has_expired(self) -> bool {
        self.0.is_some_and(|begun| begun.elapsed() >= MAX_AGE)
    }
}

/// The latest linearizable read that succeeded.
#[derive(Debug, Default)]
pub(crate) struct LatestConfirmation {
    begun: Mutex<Option<Instant>>,
    /// Held by the one request that renews the confirmation for all that wait.
    renewal: tokio::sync::Mutex<()>,
}

impl LatestConfirmation {
    /// A confirmation that does not expire soon.
    pub(crate) async fn get(&self, backend: &dyn Backend) -> Result<HeadConfirmation, StoreError> {
        if let Some(recent) = self.recent() {
            return Ok(recent);
        }
        let _renewal = self.renewal.lock().await;
        if let Some(recent) = self.recent() {
            return Ok(recent);
        }
        let begun = Instant::now();
        backend.head().await?;
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
        Ok(HeadConfirmation(Some(begun)))
    }

    fn recent(&self) -> Option<HeadConfirmation> {
        let begun = (*self.begun.lock().unwrap_or_else(PoisonError::into_inner))?;
        (begun.elapsed() < RENEW_AFTER).then_some(HeadConfirmation(Some(begun)))
    }
}
