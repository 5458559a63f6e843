//! The port to delivery cursors and the recent delivery attempts of webhooks.
//!
//! The log is the outbox of webhooks. Cursors and attempts are stored beside it: an event per delivery would
//! make the log grow with its readers. If a cursor is lost, its events are delivered again. The content of
//! cursors and reports belongs to the delivery worker.

use async_trait::async_trait;
use serde_json::Value;

use crate::error::{StoreError, WriteError};
use crate::event::StreamId;

/// How many attempts are kept for each webhook; older ones are deleted.
pub const MAX_STORED_ATTEMPTS: u64 = 1_000;

/// The delivery cursor of one webhook.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryProgress {
    /// The number of writes, by which compare-and-set detects a conflict; zero before the first.
    pub revision: u64,
    /// The number of attempts ever made. They are numbered from 1.
    pub attempts: u64,
    /// The state of the delivery worker, opaque here.
    pub state: Value,
}

/// One attempt to deliver an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u64,
    /// The report of the delivery worker, opaque here.
    pub report: Value,
}

/// A cursor to be written, and the reports of the attempts since it was last written.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryRecord {
    /// The stream of the webhook.
    pub stream: StreamId,
    /// The new cursor.
    pub to: DeliveryProgress,
    /// The reports of the attempts up to number `to.attempts`.
    pub reports: Vec<Value>,
}

/// A database that stores delivery cursors and attempts.
#[async_trait]
pub trait DeliveryStore: Send + Sync {
    /// The cursor of the webhook with that stream; `None` if none was recorded, or it was deleted.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn progress(&self, stream: &StreamId) -> Result<Option<DeliveryProgress>, StoreError>;

    /// Replaces the cursors of several webhooks, each at most once, in one transaction, each by compare-and-set:
    /// the stored revision must be the one before `to.revision`. Adds the reports of the attempts in the same
    /// transaction. Returns for each whether it was written; if not, another node delivers, or the cursor was
    /// deleted.
    ///
    /// # Errors
    /// After a [`StoreError`] the outcome may be unknown; read the cursors again.
    async fn record_all(&self, records: &[DeliveryRecord]) -> Result<Vec<bool>, StoreError>;

    /// Replaces the cursor of one webhook, as [`DeliveryStore::record_all`].
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the stored revision is another one, or the stream was erased: another node
    /// delivers, or the cursor was deleted. After [`WriteError::Store`] the outcome may be unknown; read the cursor again.
    async fn record(
        &self,
        stream: &StreamId,
        to: &DeliveryProgress,
        reports: &[Value],
    ) -> Result<(), WriteError> {
        let record = DeliveryRecord { stream: stream.clone(), to: to.clone(), reports: reports.to_vec() };
        let written = self.record_all(&[record]).await?;
        if written.first().copied().unwrap_or_default() { Ok(()) } else { Err(WriteError::Conflict) }
    }

    /// The attempts below that number, newest first, at most `limit`. At most [`MAX_STORED_ATTEMPTS`] are
    /// stored.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn attempts(
        &self,
        stream: &StreamId,
        below: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Attempt>, StoreError>;

    /// Deletes the cursor and the attempts of a webhook. Idempotent. The commit that erases a stream deletes them
    /// too.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be deleted, or only partly; retry.
    async fn forget(&self, stream: &StreamId) -> Result<(), StoreError>;
}

/// The reports with the numbers of their attempts; the last one is number `progress.attempts`.
pub fn number_attempts<'a>(
    progress: &DeliveryProgress,
    reports: &'a [Value],
) -> impl Iterator<Item = (u64, &'a Value)> {
    let count = u64::try_from(reports.len()).unwrap_or(u64::MAX);
    (progress.attempts.saturating_sub(count) + 1..).zip(reports)
}
