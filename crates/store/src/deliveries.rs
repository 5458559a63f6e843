//! The port to what is known of deliveries: how far each subscriber is, and what was tried last. It stands beside the log:
//! an event per delivery would make the log grow with its readers. Whatever is lost here is delivered once more.

use async_trait::async_trait;
use serde_json::Value;

use crate::error::{StoreError, WriteError};
use crate::event::StreamId;

/// How many attempts of one subscriber are kept; older ones are dropped.
pub const MAX_STORED_ATTEMPTS: u64 = 1_000;

/// How far one subscriber is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryProgress {
    /// How often it was written; none at the start.
    pub revision: u64,
    /// How many attempts were ever made. They are numbered from 1.
    pub attempts: u64,
    /// What the deliverer keeps of it; nothing is read into it here.
    pub state: Value,
}

/// One attempt to deliver an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its number.
    pub number: u64,
    /// What the deliverer says of it.
    pub report: Value,
}

/// A database that keeps what is known of deliveries.
#[async_trait]
pub trait DeliveryStore: Send + Sync {
    /// How far the subscriber of that stream is; none if nothing was ever recorded, or all was forgotten.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn progress(&self, stream: &StreamId) -> Result<Option<DeliveryProgress>, StoreError>;

    /// Puts `to` in the place of the progress one revision before it, with the attempts that led to it: their reports, the
    /// last of which has the number `to.attempts`. Whole or not at all. `false` if the stored revision is another: somebody
    /// else delivers, or it was forgotten.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written, or it is unknown whether it was; the progress, read again, tells.
    async fn record(
        &self,
        stream: &StreamId,
        to: &DeliveryProgress,
        reports: &[Value],
    ) -> Result<(), WriteError>;

    /// The attempts below that number, newest first, at most `limit`. Of each subscriber at most [`MAX_STORED_ATTEMPTS`] are there.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn attempts(
        &self,
        stream: &StreamId,
        below: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Attempt>, StoreError>;

    /// Forgets all of a subscriber. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done, or not wholly; it can be done again.
    async fn forget(&self, stream: &StreamId) -> Result<(), StoreError>;
}

/// The reports with their numbers, up to the last, which ends with `progress`.
pub fn number_attempts<'a>(
    progress: &DeliveryProgress,
    reports: &'a [Value],
) -> impl Iterator<Item = (u64, &'a Value)> {
    let count = u64::try_from(reports.len()).unwrap_or(u64::MAX);
    (progress.attempts.saturating_sub(count) + 1..).zip(reports)
}
