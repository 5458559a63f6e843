//! Delivery cursors and attempts of the reference backend.

use async_trait::async_trait;
use serde_json::Value;

use super::Memory;
use crate::deliveries::{Attempt, DeliveryProgress, DeliveryStore, MAX_STORED_ATTEMPTS, number_attempts};
use crate::error::{StoreError, WriteError};
use crate::event::StreamId;
use crate::key_store::KeyEntry;

#[async_trait]
impl DeliveryStore for Memory {
    async fn progress(&self, stream: &StreamId) -> Result<Option<DeliveryProgress>, StoreError> {
        Ok(self.state().deliveries.get(stream).map(|(progress, _)| progress.clone()))
    }

    async fn record(
        &self,
        stream: &StreamId,
        to: &DeliveryProgress,
        reports: &[Value],
    ) -> Result<(), WriteError> {
        let mut state = self.state();
        let stored = state.deliveries.get(stream).map_or(0, |(progress, _)| progress.revision);
        let is_erased = state.key_entries.get(stream).is_some_and(|(entry, _)| *entry == KeyEntry::Erased);
        if is_erased || stored + 1 != to.revision {
            return Err(WriteError::Conflict);
        }
        let (progress, attempts) = state.deliveries.entry(stream.clone()).or_default();
        *progress = to.clone();
        let new: Vec<_> = number_attempts(to, reports)
            .map(|(number, report)| Attempt { number, report: report.clone() })
            .collect();
        attempts.retain(|known| new.first().is_none_or(|first| known.number < first.number));
        attempts.extend(new);
        attempts.retain(|attempt| attempt.number + MAX_STORED_ATTEMPTS > to.attempts);
        Ok(())
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
