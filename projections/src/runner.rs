//! The runner: of all nodes, one keeps a projection, under a lease; the others stand by. It keeps every version, builds what
//! is to be built and removes what is to be dropped. The lease only saves double work: a node that believes it holds it
//! and no longer does writes nothing, since the checkpoint has moved.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use store::{Env, Lease, StoreError};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use crate::context::ProjectionContext;
use crate::lease::{LEASE_TERM, LeaseClient, lease_name, parse_report};
use crate::projection::Projection;
use crate::report::ProjectionReport;
use crate::supervisor::ProjectorSupervisor;

/// How often the lease is renewed, and how often others look whether it is free.
const RENEW_INTERVAL: Duration = Duration::from_millis(800);
/// How long what is read may stand still before another node, which may run another program, may try.
const MAX_HALTED: Duration = Duration::from_secs(2);
/// How long whoever gave way stays away: others look more often.
const YIELD_PAUSE: Duration = Duration::from_secs(1);
/// How much longer, if another node has taken over: should that one give way as well, it is the turn of a third.
const YIELD_BACKOFF: Duration = Duration::from_secs(5);
/// A wake-up that got lost costs no more than this.
const POLL: Duration = Duration::from_secs(1);

/// Who keeps a projection, and how it is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeadershipStatus {
    /// The node that keeps it, as far as this one knows.
    pub owner: Option<String>,
    /// What that node says.
    pub report: ProjectionReport,
    /// When it last said so.
    pub reported: Option<Instant>,
}

/// Keeps one projection whenever no other node does.
pub struct ProjectionRunner {
    projection: &'static dyn Projection,
    context: ProjectionContext,
    env: Env,
    lease_client: LeaseClient,
    is_known_dead: fn(&str) -> bool,
    status: watch::Sender<LeadershipStatus>,
}

/// A runner at work in the background, until it is dropped.
pub struct ProjectionHandle {
    projection: &'static dyn Projection,
    holder: Arc<str>,
    status: watch::Receiver<LeadershipStatus>,
    stop: Arc<tokio::sync::Notify>,
}

impl ProjectionHandle {
    /// What is kept.
    #[must_use]
    pub fn projection(&self) -> &'static dyn Projection {
        self.projection
    }

    /// Who keeps it, and how it is doing.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "nothing happens between borrowing and copying")]
    pub fn status(&self) -> LeadershipStatus {
        self.status.borrow().clone()
    }

    /// Whether it is this node that keeps it, as far as it knows.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.status().owner.as_deref() == Some(&*self.holder)
    }

    /// Follows that.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<LeadershipStatus> {
        self.status.clone()
    }

    /// Stops, and gives the lease back.
    pub async fn stop(&self) {
        self.stop.notify_one();
        // Its other end is gone once it has ended, whichever way.
        let mut status = self.status.clone();
        while status.changed().await.is_ok() {}
    }
}

impl Drop for ProjectionHandle {
    fn drop(&mut self) {
        // It gives the lease back by itself. Between two awaits at most a transaction is lost, which then was not
        // committed, or was, whole.
        self.stop.notify_one();
    }
}

/// Why a node no longer keeps a projection.
enum LeadershipEnd {
    /// The lease is another's, or nobody's.
    Lost,
    /// What is read stands still here, and might go on elsewhere.
    Yielded,
}

impl ProjectionRunner {
    /// A runner of this projection. `holder` tells this node from all others.
    #[must_use]
    pub fn new(
        projection: &'static dyn Projection,
        context: ProjectionContext,
        env: Env,
        holder: &str,
    ) -> Self {
        let lease_client = LeaseClient::new(Arc::clone(&context.leases), &lease_name(projection), holder);
        let status = watch::Sender::new(LeadershipStatus::default());
        Self { projection, context, env, lease_client, is_known_dead: |_| false, status }
    }

    /// Takes the lease at once from a holder of whom `is_known_dead` is sure that it works no more, instead of waiting until
    /// it runs out.
    #[must_use]
    pub fn with_dead_holder_check(self, is_known_dead: fn(&str) -> bool) -> Self {
        Self { is_known_dead, ..self }
    }

    /// Starts it in the background.
    #[must_use]
    pub fn start(self) -> ProjectionHandle {
        let (projection, status) = (self.projection, self.status.subscribe());
        let holder = Arc::clone(self.lease_client.holder());
        let stop = Arc::new(tokio::sync::Notify::new());
        let stopped = Arc::clone(&stop);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.notified() => {}
                () = self.run() => {}
            }
            self.release().await;
        });
        ProjectionHandle { projection, holder, status, stop }
    }

    async fn run(&self) {
        loop {
            match self.lease().await {
                Ok(lease) if self.is_mine(&lease) => {
                    let end = self.lead().await;
                    self.release().await;
                    sleep(YIELD_PAUSE).await;
                    if matches!(end, LeadershipEnd::Yielded) && self.taken_by_other().await {
                        sleep(YIELD_BACKOFF).await;
                    }
                }
                Ok(lease) if (self.is_known_dead)(&lease.holder) => self.take_over_dead_lease(&lease).await,
                Ok(lease) => {
                    self.publish_follower_status(&lease);
                    sleep(RENEW_INTERVAL.min(lease.remaining)).await;
                }
                Err(error) => {
                    tracing::debug!(projection = self.projection.name(), %error, "cannot take the lease");
                    sleep(RENEW_INTERVAL).await;
                }
            }
        }
    }

    /// Gives the lease back in the name of a holder that is gone.
    async fn take_over_dead_lease(&self, lease: &Lease) {
        let (projection, owner) = (self.projection.name(), &lease.holder);
        tracing::info!(projection, owner, "the node that kept the projection is gone");
        let released = self.context.leases.release_lease(&lease.name, owner, &lease.report).await;
        if let Err(error) = released {
            tracing::debug!(projection, %error, "the lease ends by itself");
            sleep(RENEW_INTERVAL).await;
        }
    }

    /// Works until the lease is lost, or another node had better try.
    async fn lead(&self) -> LeadershipEnd {
        tracing::info!(projection = self.projection.name(), "this node keeps the projection");
        let supervisor = ProjectorSupervisor::new(self.projection, self.context.clone(), self.env.clone());
        let supervisor = Mutex::new(supervisor);
        tokio::select! {
            biased;
            end = self.renew(&supervisor) => end,
            never = self.supervise(&supervisor) => match never {},
        }
    }

    /// Whether another node has taken the lease since this one gave way.
    async fn taken_by_other(&self) -> bool {
        let leases = self.context.leases.list_leases().await.unwrap_or_default();
        let theirs =
            |lease: &Lease| lease.name == self.lease_client.name() && lease.is_held() && !self.is_mine(lease);
        let Some(lease) = leases.into_iter().find(theirs) else { return false };
        self.publish_follower_status(&lease);
        true
    }

    /// Renews the lease, whatever the keepers do.
    async fn renew(&self, supervisor: &Mutex<ProjectorSupervisor>) -> LeadershipEnd {
        let (mut renewed, mut halted) = (Instant::now(), None);
        loop {
            sleep(RENEW_INTERVAL).await;
            // Whoever is changing the keepers waits for the database; the lease does not wait for them.
            if let Ok(supervisor) = supervisor.try_lock() {
                let (report, stuck) = supervisor.report();
                self.show(Some(self.lease_client.holder().to_string()), report, Some(renewed));
                halted = if stuck { halted.or_else(|| Some(Instant::now())) } else { None };
            }
            if halted.is_some_and(|since: Instant| since.elapsed() > MAX_HALTED) {
                return LeadershipEnd::Yielded;
            }
            match self.lease().await {
                Ok(lease) if self.is_mine(&lease) => renewed = Instant::now(),
                Ok(lease) => {
                    let (projection, owner) = (self.projection.name(), lease.holder);
                    tracing::info!(projection, owner, "another node keeps the projection");
                    return LeadershipEnd::Lost;
                }
                Err(error) if renewed.elapsed() > LEASE_TERM => {
                    tracing::warn!(projection = self.projection.name(), %error, "the lease has run out");
                    return LeadershipEnd::Lost;
                }
                Err(_) => {}
            }
        }
    }

    /// Has every version kept that is to be kept, as long as it is.
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
                    tracing::debug!(projection = name, %error, "cannot read the versions");
                    0
                }
            };
            let news = updates.wait_for(|progress| {
                progress.versions.get(name).is_some_and(|versions| versions.revision > seen)
            });
            drop(tokio::time::timeout(POLL, news).await);
        }
    }

    async fn lease(&self) -> Result<Lease, StoreError> {
        self.lease_client.acquire(&self.status().report).await
    }

    async fn release(&self) {
        self.lease_client.release(&self.status().report).await;
    }

    /// Whether it is this node that holds it.
    fn is_mine(&self, lease: &Lease) -> bool {
        *lease.holder == **self.lease_client.holder()
    }

    fn status(&self) -> LeadershipStatus {
        self.status.borrow().clone()
    }

    /// Says what another node wait_for_status, and when it did.
    fn publish_follower_status(&self, lease: &Lease) {
        let reported = Instant::now().checked_sub(LEASE_TERM.saturating_sub(lease.remaining));
        self.show(Some(lease.holder.clone()), parse_report(lease), reported);
    }

    fn show(&self, owner: Option<String>, report: ProjectionReport, reported: Option<Instant>) {
        let status = LeadershipStatus { owner, report, reported };
        self.status.send_if_modified(|known| {
            let news = *known != status;
            *known = status;
            news
        });
    }
}
