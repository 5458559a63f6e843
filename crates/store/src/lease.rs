//! The port to leases, which expire by the clock of the database.
//!
//! A lease only prevents duplicate work. Correctness never depends on it: every job moves its own checkpoint
//! or cursor by compare-and-set. Electing a leader belongs in [`leader_election`](crate::leader_election).

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::error::StoreError;

/// A lease and its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job, such as `projection/users`.
    pub name: String,
    /// The node that holds it.
    pub holder: String,
    /// The remaining term; zero once it has expired.
    pub remaining: Duration,
    /// The report that the holder attached to the last renewal.
    pub report: Value,
}

impl Lease {
    /// Whether it has not expired.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.remaining > Duration::ZERO
    }
}

/// A database that stores leases.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Acquires or renews the lease for `term`, unless another node holds it. Returns the lease with its
    /// holder.
    ///
    /// # Errors
    /// [`StoreError`] if the outcome is unknown.
    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        term: Duration,
        report: &Value,
    ) -> Result<Lease, StoreError>;

    /// Releases the lease, if this node holds it. The last report stays readable.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be released; it then expires.
    async fn release_lease(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError>;

    /// Every lease that was ever acquired, expired or not, by name.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn list_leases(&self) -> Result<Vec<Lease>, StoreError>;
}
