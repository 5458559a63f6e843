//! Leases of the reference backend, by the clock of the runtime, which tests can pause.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;

use super::{LeaseState, Memory};
use crate::error::StoreError;
use crate::lease::{LEASE_SLACK, Lease, LeaseStore};

impl LeaseState {
    fn to_lease(&self, name: &str) -> Lease {
        Lease {
            name: name.to_owned(),
            holder: self.holder.clone(),
            remaining: self.until.saturating_duration_since(Instant::now()),
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
        let now = Instant::now();
        let mut state = self.state();
        let is_by_other = |held: &&LeaseState| {
            held.holder != holder && held.until > now && held.until <= now + term + LEASE_SLACK
        };
        if let Some(held) = state.leases.get(name).filter(is_by_other) {
            return Ok(held.to_lease(name));
        }
        let held = LeaseState { holder: holder.to_owned(), until: now + term, report: report.clone() };
        let lease = held.to_lease(name);
        state.leases.insert(name.to_owned(), held);
        Ok(lease)
    }

    async fn release_lease(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError> {
        if let Some(held) = self.state().leases.get_mut(name).filter(|held| held.holder == holder) {
            (held.until, held.report) = (Instant::now(), report.clone());
        }
        Ok(())
    }

    async fn list_leases(&self) -> Result<Vec<Lease>, StoreError> {
        Ok(self.state().leases.iter().map(|(name, held)| held.to_lease(name)).collect())
    }
}
