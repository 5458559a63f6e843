//! Runs the projectors of one projection on one node: leader election decides which node does, and the leader
//! maintains every version, rebuilds and drops included.
//!
//! The lease only avoids duplicate work: a node that wrongly believes it leads writes nothing, because the
//! projection checkpoint has moved.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use store::{Env, LeaderElection, LeaderReport, LeadershipStatus};
use tokio::sync::{Mutex, Notify, watch};

use crate::context::ProjectionContext;
use crate::projection::Projection;
use crate::report::{ProjectionReport, lease_name};
use crate::supervisor::ProjectorSupervisor;

/// How often the versions are read even without a notification, in case one was lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Which node leads a projection, and what it reports.
pub type ProjectionLeadership = LeadershipStatus<ProjectionReport>;

/// Maintains one projection whenever no other node does.
pub struct ProjectionRunner {
    projection: &'static dyn Projection,
    context: ProjectionContext,
    env: Env,
    election: LeaderElection<ProjectionReport>,
}

/// A runner in the background, until it is dropped.
pub struct ProjectionHandle {
    projection: &'static dyn Projection,
    holder: Arc<str>,
    status: watch::Receiver<ProjectionLeadership>,
    stop: Arc<Notify>,
}

impl ProjectionHandle {
    /// The projection it maintains.
    #[must_use]
    pub fn projection(&self) -> &'static dyn Projection {
        self.projection
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
    /// A runner of this projection. `holder` names this node in the lease.
    #[must_use]
    pub fn new(
        projection: &'static dyn Projection,
        context: ProjectionContext,
        env: Env,
        holder: &str,
    ) -> Self {
        let leases = Arc::clone(&context.leases);
        let election = LeaderElection::new(leases, &lease_name(projection), holder);
        Self { projection, context, env, election }
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
        let (projection, status) = (self.projection, self.election.subscribe());
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
        ProjectionHandle { projection, holder, status, stop }
    }

    async fn run(&self) -> Infallible {
        loop {
            self.election.wait_until_leader().await;
            let supervisor =
                ProjectorSupervisor::new(self.projection, self.context.clone(), self.env.clone());
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
        let name = self.projection.name();
        loop {
            let mut updates = self.context.events.watch_progress();
            let seen = match self.context.rows.versions(name).await {
                Ok(Some(versions)) => {
                    supervisor.lock().await.reconcile(&versions).await;
                    versions.revision
                }
                Ok(None) => 0,
                Err(error) => {
                    tracing::debug!(projection = name, %error, "projection versions not read");
                    0
                }
            };
            let changed = updates.wait_for(|progress| {
                progress.versions.get(name).is_some_and(|versions| versions.revision > seen)
            });
            drop(tokio::time::timeout(POLL_INTERVAL, changed).await);
        }
    }
}
