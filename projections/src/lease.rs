//! One node's claim to do a piece of work: to keep a projection, or whatever else one node at a time is to do.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use store::{Lease, LeaseStore, StoreError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::projection::Projection;
use crate::report::ProjectionReport;

/// How long a node that has fallen silent keeps its lease.
pub const LEASE_TERM: Duration = Duration::from_millis(2_400);

/// What a node asks for a lease with. One request is under way at a time, and none is left behind: whoever gives the
/// lease back would otherwise be overtaken by their own last renewal, and nobody would keep the projection for a term.
pub struct LeaseClient {
    leases: Arc<dyn LeaseStore>,
    name: Arc<str>,
    holder: Arc<str>,
    in_flight: Arc<Mutex<()>>,
}

impl LeaseClient {
    /// A claim to the lease of that name by that node.
    #[must_use]
    pub fn new(leases: Arc<dyn LeaseStore>, name: &str, holder: &str) -> Self {
        Self { leases, name: name.into(), holder: holder.into(), in_flight: Arc::default() }
    }

    /// The name of the lease.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who asks.
    #[must_use]
    pub fn holder(&self) -> &Arc<str> {
        &self.holder
    }

    /// Takes or renews the lease, and says how the work goes; gives who holds it then. The request goes on even if nobody
    /// waits for the answer any more.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot tell.
    pub async fn acquire(&self, report: &(impl Serialize + Sync)) -> Result<Lease, StoreError> {
        let turn = Arc::clone(&self.in_flight).lock_owned().await;
        let (leases, name, holder) =
            (Arc::clone(&self.leases), Arc::clone(&self.name), Arc::clone(&self.holder));
        let report = serde_json::to_value(report).unwrap_or_default();
        let asked = tokio::spawn(async move {
            let answer = leases.acquire_lease(&name, &holder, LEASE_TERM, &report).await;
            drop(turn);
            answer
        });
        asked.await.unwrap_or_else(|stopped| Err(StoreError::unavailable("ask for a lease", stopped)))
    }

    /// Gives it back, if this node has it.
    pub async fn release(&self, report: &(impl Serialize + Sync)) {
        let given_back = async {
            let _turn = self.in_flight.lock().await;
            let report = serde_json::to_value(report).unwrap_or_default();
            self.leases.release_lease(&self.name, &self.holder, &report).await
        };
        // After a term without an answer it has ended by itself.
        match timeout(LEASE_TERM, given_back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(lease = &*self.name, %error, "the lease ends by itself"),
            Err(_) => tracing::debug!(lease = &*self.name, "the lease ends by itself"),
        }
    }
}

/// Under which name the lease of a projection is given out.
#[must_use]
pub fn lease_name(projection: &dyn Projection) -> String {
    format!("projection/{}", projection.name())
}

/// What the holder of a lease says; nothing if it says nothing that is understood here.
#[must_use]
pub fn parse_report(lease: &Lease) -> ProjectionReport {
    serde_json::from_value(lease.report.clone()).unwrap_or_default()
}
