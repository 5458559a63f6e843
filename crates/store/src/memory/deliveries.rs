//! Delivery cursors and attempts of the reference backend.

use async_trait::async_trait;

use super::{Memory, State};
use crate::deliveries::{
    Attempt, DeliveryProgress, DeliveryRecord, DeliveryStore, MAX_STORED_ATTEMPTS, number_attempts,
};
use crate::error::StoreError;
use crate::event::StreamId;
use crate::key_store::KeyEntry;

#[async_trait]
impl DeliveryStore for Memory {
    async fn progress(&self, stream: &StreamId) -> Result<Option<DeliveryProgress>, StoreError> {
        Ok(self.state().deliveries.get(stream).map(|(progress, _)| progress.clone()))
    }

    async fn record_all(&self, records: &[DeliveryRecord]) -> Result<Vec<bool>, StoreError> {
        let mut state = self.state();
        Ok(records.iter().map(|record| state.record(record)).collect())
    }

    async fn attempts(
        &self,
        stream: &StreamId,
        below: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Attempt>, StoreError> {
        let state = self.state();
        let attempts = state.deliveries.get(stream).map_or(&[][..], |(_, attempts)| attempts);
        let below = attempts.iter().rev().filter(|attempt| below.is_none_or(|below| attempt.number < below));
        Ok(below.take(limit).cloned().collect())
    }

    async fn forget(&self, stream: &StreamId) -> Result<(), StoreError> {
        self.state().deliveries.remove(stream);
        Ok(())
    }
}

impl State {
    /// Whether the expected revision was stored.
    fn record(&mut self, DeliveryRecord { stream, to, reports }: &DeliveryRecord) -> bool {
        let stored = self.deliveries.get(stream).map_or(0, |(progress, _)| progress.revision);
        // The commit that erases a stream deletes its cursor, which must not come back.
        let is_erased = self.key_entries.get(stream).is_some_and(|(entry, _)| *entry == KeyEntry::Erased);
        if is_erased || stored + 1 != to.revision {
            return false;
        }
        let (progress, attempts) = self.deliveries.entry(stream.clone()).or_default();
        *progress = to.clone();
        let new: Vec<_> = number_attempts(to, reports)
            .map(|(number, report)| Attempt { number, report: report.clone() })
            .collect();
        attempts.retain(|known| new.first().is_none_or(|first| known.number < first.number));
        attempts.extend(new);
        attempts.retain(|attempt| attempt.number + MAX_STORED_ATTEMPTS > to.attempts);
        true
    }
}
