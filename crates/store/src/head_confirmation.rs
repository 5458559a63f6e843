//! Bounds the age of what reads return on a replicated database. A primary that was deposed and does not know
//! it answers with old data; a linearizable read is one that it cannot answer. Doing one for each read would cost
//! a majority round trip each time, so one that succeeded counts for a while, as with the leader leases of Raft:
//! no other primary is elected within the election timeout after it. A change of the primary that the driver
//! observes, such as a planned one, ends it at once.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::Backend;
use crate::error::StoreError;
use crate::lock::lock;

/// How long a confirmation counts. Must be below the election timeout of the replica set (10 s by default).
const MAX_AGE: Duration = Duration::from_secs(1);
/// A confirmation older than this is renewed before the next read, so that the read has time to be answered.
const RENEW_AFTER: Duration = Duration::from_millis(500);

/// Confirms that reads which begin after it return the newest data, if they are answered while it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadConfirmation(Option<Confirmed>);

/// A linearizable read that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Confirmed {
    begun: Instant,
    primary_changes: u64,
}

impl HeadConfirmation {
    fn is_younger(self, age: Duration, primary_changes: Option<u64>) -> bool {
        self.0.is_none_or(|confirmed| {
            confirmed.begun.elapsed() < age && Some(confirmed.primary_changes) == primary_changes
        })
    }
}

/// The latest confirmation.
#[derive(Debug, Default)]
pub(crate) struct LatestConfirmation {
    latest: Mutex<Option<Confirmed>>,
    /// Held by the one request that renews the confirmation for all that wait.
    renewal: tokio::sync::Mutex<()>,
}

impl LatestConfirmation {
    /// A confirmation that does not expire soon.
    pub(crate) async fn get(&self, backend: &dyn Backend) -> Result<HeadConfirmation, StoreError> {
        if let Some(recent) = self.recent(backend) {
            return Ok(recent);
        }
        let _renewal = self.renewal.lock().await;
        if let Some(recent) = self.recent(backend) {
            return Ok(recent);
        }
        // Before the read: a primary that changes during it may not be the one that has answered.
        let primary_changes = backend.primary_changes().unwrap_or_default();
        let confirmed = Confirmed { begun: Instant::now(), primary_changes };
        backend.head().await?;
        *lock(&self.latest) = Some(confirmed);
        Ok(HeadConfirmation(Some(confirmed)))
    }

    /// Whether the answer to a read that was begun after the confirmation, and has arrived, is current.
    pub(crate) fn is_valid(confirmation: HeadConfirmation, backend: &dyn Backend) -> bool {
        confirmation.is_younger(MAX_AGE, backend.primary_changes())
    }

    fn recent(&self, backend: &dyn Backend) -> Option<HeadConfirmation> {
        let Some(primary_changes) = backend.primary_changes() else { return Some(HeadConfirmation(None)) };
        let latest = HeadConfirmation(Some((*lock(&self.latest))?));
        latest.is_younger(RENEW_AFTER, Some(primary_changes)).then_some(latest)
    }
}
