//! One node's claim to do a piece of work: to keep a projection, or whatever else one node at a time is to do.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use store::{Lease, Leases, StoreError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::projection::Projection;
use crate::report::Report;

/// How long a node that has fallen silent keeps its lease.
pub const TERM: Duration = Duration::from_millis(2_400);

/// What a node asks for a lease with. One request is under way at a time, and none is left behind: whoever gives the
/// lease back would otherwise be overtaken by their own last renewal, and nobody would keep the projection for a term.
pub struct Claim {
    leases: Arc<dyn Leases>,
    name: Arc<str>,
    holder: Arc<str>,
    turn: Arc<Mutex<()>>,
}

impl Claim {
    /// A claim to the lease of that name by that node.
    #[must_use]
    pub fn new(leases: Arc<dyn Leases>, name: &str, holder: &str) -> Self {
        Self { leases, name: name.into(), holder: holder.into(), turn: Arc::default() }
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
    pub async fn take(&self, report: &(impl Serialize + Sync)) -> Result<Lease, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (leases, name, holder) =
            (Arc::clone(&self.leases), Arc::clone(&self.name), Arc::clone(&self.holder));
        let report = serde_json::to_value(report).unwrap_or_default();
        let asked = tokio::spawn(async move {
            let answer = leases.lease(&name, &holder, TERM, &report).await;
            drop(turn);
            answer
        });
        asked.await.unwrap_or_else(|stopped| Err(StoreError::unavailable("ask for a lease", stopped)))
    }

    /// Gives it back, if this node has it.
    pub async fn give_back(&self, report: &(impl Serialize + Sync)) {
        let given_back = async {
            let _turn = self.turn.lock().await;
            let report = serde_json::to_value(report).unwrap_or_default();
            self.leases.release(&self.name, &self.holder, &report).await
        };
        // After a term without an answer it has ended by itself.
        match timeout(TERM, given_back).await {
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
pub fn to_report(lease: &Lease) -> Report {
    serde_json::from_value(lease.report.clone()).unwrap_or_default()
}
