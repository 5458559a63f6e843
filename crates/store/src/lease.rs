//! The port to leases, which expire by the clock of the database.
//!
//! A lease only prevents duplicate work. Correctness never depends on it: every job moves its own checkpoint
//! or cursor by compare-and-set. Electing a leader belongs in [`leader_election`](crate::leader_election).

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::error::StoreError;

/// How much longer than a term a lease may appear to last, because two requests at the same time are stamped
/// in the other order than they are executed.
pub const LEASE_SLACK: Duration = Duration::from_secs(1);

/// A lease and its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job, such as `projections`.
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
    /// Acquires the lease, or renews it, for `term` from now on, unless another node holds it; returns it
    /// with its holder. A lease that would last for more than [`LEASE_SLACK`] longer than `term` was stamped
    /// by a clock that was ahead, and is free.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer.
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
