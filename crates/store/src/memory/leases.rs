//! Leases of the reference backend, by the clock of the runtime, which tests can pause and set ahead.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;

use super::{LeaseState, Memory};
use crate::error::StoreError;
use crate::lease::{LEASE_SLACK, Lease, LeaseStore};

impl LeaseState {
    fn to_lease(&self, name: &str, now: Instant) -> Lease {
        Lease {
            name: name.to_owned(),
            holder: self.holder.clone(),
            remaining: self.until.saturating_duration_since(now),
            report: self.report.clone(),
        }
    }
}

#[async_trait]
impl LeaseStore for Memory {
    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        term: Duration,
        report: &Value,
    ) -> Result<Lease, StoreError> {
        let mut state = self.state();
        let now = Instant::now() + state.clock_ahead;
        let is_by_other = |held: &&LeaseState| {
            held.holder != holder && held.until > now && held.until <= now + term + LEASE_SLACK
        };
        if let Some(held) = state.leases.get(name).filter(is_by_other) {
            return Ok(held.to_lease(name, now));
        }
        let held = LeaseState { holder: holder.to_owned(), until: now + term, report: report.clone() };
        let lease = held.to_lease(name, now);
        state.leases.insert(name.to_owned(), held);
        Ok(lease)
    }

    async fn release_lease(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError> {
        let mut state = self.state();
        let now = Instant::now() + state.clock_ahead;
        if let Some(held) = state.leases.get_mut(name).filter(|held| held.holder == holder) {
            (held.until, held.report) = (now, report.clone());
        }
        Ok(())
    }

    async fn list_leases(&self) -> Result<Vec<Lease>, StoreError> {
        let state = self.state();
        let now = Instant::now() + state.clock_ahead;
        Ok(state.leases.iter().map(|(name, held)| held.to_lease(name, now)).collect())
    }
}
