//! The port to leases: who may do a piece of work for now, by the database's own clock. A lease only saves that two do
//! the same work; nothing is right or wrong because of it. What keeps rows right is the checkpoint, which is compared
//! in the transaction that moves it.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::error::StoreError;

/// How much longer than a term a lease may appear to last, because two requests at the same time are stamped in
/// the other order than they are executed.
pub const LEASE_SLACK: Duration = Duration::from_secs(1);

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it is for, such as `projections`.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// How much longer; nothing of one that has run out.
    pub remaining: Duration,
    /// What the holder has said of their work when they last renewed it.
    pub report: Value,
}

impl Lease {
    /// Whether somebody holds it now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.remaining > Duration::ZERO
    }
}

/// A database that gives out leases.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Acquires the lease, or renews it, for `term` from now on, unless another node holds it; returns it with
    /// its holder. A lease that would last for more than [`LEASE_SLACK`] longer than `term` was stamped by
    /// a clock that was ahead, and is free.
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

    /// Gives the lease back, if this holder has it. The report stays, for those who ask what has been.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done; it then ends by itself.
    async fn release_lease(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError>;

    /// Every lease that was ever given out, held or not, by name.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn list_leases(&self) -> Result<Vec<Lease>, StoreError>;
}
