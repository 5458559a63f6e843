//! Runs the projectors on one node: leader election decides which node does, and the leader maintains every
//! version of every projection, rebuilds and drops included.
//!
//! The lease only avoids duplicate work: a node that wrongly believes it leads writes nothing, because the
//! projection checkpoint has moved.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use store::{Env, LeaderElection, LeaderReport, LeadershipStatus, StoreProgress};
use tokio::sync::{Mutex, Notify, watch};

use crate::context::ProjectionContext;
use crate::projection::Projection;
use crate::report::{LEASE, ProjectionReports};
use crate::supervisor::ProjectorSupervisor;

/// The delay before a task is started that could not be started, or has ended.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Which node leads the projections, and what it reports.
pub type ProjectionLeadership = LeadershipStatus<ProjectionReports>;

/// Maintains all projections whenever no other node does.
pub struct ProjectionRunner {
    projections: Arc<[&'static dyn Projection]>,
    context: ProjectionContext,
    env: Env,
    election: LeaderElection<ProjectionReports>,
}

/// A runner in the background, until it is dropped.
pub struct ProjectionHandle {
    projections: Arc<[&'static dyn Projection]>,
    holder: Arc<str>,
    status: watch::Receiver<ProjectionLeadership>,
    stop: Arc<Notify>,
}

impl ProjectionHandle {
    /// The projections it maintains.
    #[must_use]
    pub fn projections(&self) -> &[&'static dyn Projection] {
        &self.projections
    }

    /// Which node leads, and what it reports.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "nothing happens between borrowing and copying")]
    pub fn status(&self) -> ProjectionLeadership {
        self.status.borrow().clone()
    }

    /// Whether this node leads, as far as it knows.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.status().owner.as_deref() == Some(&*self.holder)
    }

    /// Follows the status.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<ProjectionLeadership> {
        self.status.clone()
    }

    /// Stops the projectors and releases the lease.
    pub async fn stop(&self) {
        self.stop.notify_one();
        // The sender is dropped once the task has ended, whichever way.
        let mut status = self.status.clone();
        while status.changed().await.is_ok() {}
    }
}

impl Drop for ProjectionHandle {
    fn drop(&mut self) {
        // The task releases the lease by itself. At most one transaction is interrupted, which then is
        // committed as a whole or not at all.
        self.stop.notify_one();
    }
}

impl ProjectionRunner {
    /// A runner of these projections. `holder` names this node in the lease.
    #[must_use]
    pub fn new(
        projections: &[&'static dyn Projection],
        context: ProjectionContext,
        env: Env,
        holder: &str,
    ) -> Self {
        let election = LeaderElection::new(Arc::clone(&context.leases), LEASE, holder);
        Self { projections: projections.into(), context, env, election }
    }

    /// Takes over the lease of a holder for which `is_known_dead` is true, instead of waiting until it
    /// expires.
    #[must_use]
    pub fn with_dead_holder_check(self, is_known_dead: fn(&str) -> bool) -> Self {
        Self { election: self.election.with_dead_holder_check(is_known_dead), ..self }
    }

    /// Starts the runner in the background.
    #[must_use]
    pub fn start(self) -> ProjectionHandle {
        let (projections, status) = (Arc::clone(&self.projections), self.election.subscribe());
        let holder = Arc::clone(self.election.holder());
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.notified() => {}
                never = self.run() => match never {},
            }
            self.election.release().await;
        });
        ProjectionHandle { projections, holder, status, stop }
    }

    async fn run(&self) -> Infallible {
        loop {
            self.election.wait_until_leader().await;
            let (projections, context) = (Arc::clone(&self.projections), self.context.clone());
            let supervisor = ProjectorSupervisor::new(projections, context, self.env.clone());
            let supervisor = Mutex::new(supervisor);
            // While the supervisor is being changed, which waits for the database, the last report stays.
            let report = || {
                let (report, is_stuck) = supervisor.try_lock().ok()?.report();
                Some(LeaderReport { report, is_stuck })
            };
            let end = tokio::select! {
                biased;
                end = self.election.renew(report) => end,
                never = self.supervise(&supervisor) => match never {},
            };
            drop(supervisor);
            self.election.step_down(end).await;
        }
    }

    /// Keeps the projectors in line with the versions.
    async fn supervise(&self, supervisor: &Mutex<ProjectorSupervisor>) -> Infallible {
        let mut revisions = BTreeMap::new();
        loop {
            let mut updates = self.context.events.watch_progress();
            let mut is_complete = true;
            for projection in &*self.projections {
                match self.context.rows.versions(projection.name()).await {
                    Ok(Some(versions)) => {
                        is_complete &= supervisor.lock().await.reconcile(*projection, &versions).await;
                        revisions.insert(projection.name(), versions.revision);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        is_complete = false;
                        tracing::debug!(projection = projection.name(), %error, "projection versions not read");
                    }
                }
            }
            let is_newer = |progress: &StoreProgress| {
                progress.versions.iter().any(|(name, versions)| {
                    revisions.get(&**name).is_some_and(|seen| versions.revision > *seen)
                })
            };
            let interval = if is_complete { self.context.poll_interval() } else { RETRY_INTERVAL };
            drop(tokio::time::timeout(interval, updates.wait_for(is_newer)).await);
        }
    }
}
