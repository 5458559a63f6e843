//! Runs a job on the node that holds its lease, or on as many nodes as it has leases; the others are standbys and
//! take over within seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use store::leader_election::{LEASE_TERM, RENEW_INTERVAL};
use store::lease::{LEASE_SLACK, Lease};
use store::{LeaderElection, LeaseStore, StoreError};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What the leader does.
#[async_trait]
pub(crate) trait LeaderJob: Send + Sync + 'static {
    /// The names of the leases: as many nodes lead at the same time.
    const LEASES: &'static [&'static str];
    /// How long [`LeaderJob::lead`] may take to end once it is stopped.
    const STOP_TIMEOUT: Duration;

    /// Waits until the job is needed. Until then no lease is acquired.
    async fn wait_until_needed(&self);

    /// Works until stopped, under the lease at that index. It is dropped if this node no longer holds the lease.
    async fn lead(&self, lease: usize, stop: &CancellationToken);

    /// Called when this node does not lead any more.
    fn ended(&self);
}

/// Where leases are, and who competes for them.
#[derive(Clone)]
pub(crate) struct Candidacy {
    pub(crate) leases: Arc<dyn LeaseStore>,
    /// The name of this node.
    pub(crate) holder: String,
    /// Whether the process of a lease holder has certainly ended, so that its lease need not expire.
    pub(crate) is_dead_node: fn(&str) -> bool,
}

/// The leader has nothing to report.
type Election = LeaderElection<Map<String, Value>>;

/// A running job; aborted on drop.
pub(crate) struct LeaderJobHandle {
    stop: CancellationToken,
    stop_timeout: Duration,
    task: AbortOnDropHandle<()>,
    ended: CancellationToken,
}

impl LeaderJobHandle {
    /// Lets the job finish, and releases the lease.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if timeout(self.stop_timeout + LEASE_TERM, self.ended.cancelled()).await.is_err() {
            self.task.abort();
        }
    }
}

/// Starts a job under leader election.
pub(crate) fn start<J: LeaderJob>(job: J, candidacy: &Candidacy) -> LeaderJobHandle {
    let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
    let (stopped, end_guard) = (stop.clone(), ended.clone().drop_guard());
    let candidacy = candidacy.clone();
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        let _end_guard = end_guard;
        run(&job, &candidacy, &stopped).await;
    }));
    LeaderJobHandle { stop, stop_timeout: J::STOP_TIMEOUT, task, ended }
}

async fn run<J: LeaderJob>(job: &J, candidacy: &Candidacy, stop: &CancellationToken) {
    tokio::select! {
        () = job.wait_until_needed() => {}
        () = stop.cancelled() => return,
    }
    let elections: Vec<_> = J::LEASES.iter().map(|name| candidacy.election(name)).collect();
    let requested = AtomicUsize::new(0);
    while !stop.is_cancelled() {
        tokio::select! {
            () = candidacy.wait_for_lease(J::LEASES, &elections, &requested) => {}
            () = stop.cancelled() => break,
        };
        let lease = requested.load(Ordering::Relaxed);
        let Some(election) = elections.get(lease) else { break };
        let end = tokio::select! {
            biased;
            end = election.renew(|| None) => Some(end),
            () = job.lead(lease, stop) => None,
        };
        job.ended();
        if let Some(end) = end {
            tokio::select! {
                () = election.step_down(end) => {}
                () = stop.cancelled() => {}
            }
        }
    }
    // Also if a request for it was under way when the job was stopped.
    if let Some(election) = elections.get(requested.load(Ordering::Relaxed)) {
        election.release().await;
    }
}

impl Candidacy {
    fn election(&self, lease: &str) -> Election {
        Election::new(Arc::clone(&self.leases), lease, &self.holder).with_dead_holder_check(self.is_dead_node)
    }

    /// Waits until this node holds one of the leases: the one that was `requested` last, by its index.
    async fn wait_for_lease(&self, names: &[&str], elections: &[Election], requested: &AtomicUsize) {
        if let [only] = elections {
            return only.wait_until_leader().await;
        }
        loop {
            match self.available_lease(names).await {
                // Another node may take it at the same time.
                Ok(Some(lease)) => {
                    requested.store(lease, Ordering::Relaxed);
                    if let Some(election) = elections.get(lease)
                        && timeout(RENEW_INTERVAL, election.wait_until_leader()).await.is_ok()
                    {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "leases not read; retrying"),
            }
            sleep(RENEW_INTERVAL).await;
        }
    }

    /// The index of the first lease that is held by this node, or else of the first that is free.
    async fn available_lease(&self, names: &[&str]) -> Result<Option<usize>, StoreError> {
        let leases = self.leases.list_leases().await?;
        let holder = |name: &str| {
            let is_held = |lease: &&Lease| lease.is_held() && lease.remaining <= LEASE_TERM + LEASE_SLACK;
            leases.iter().find(|lease| lease.name == name).filter(is_held).map(|lease| &*lease.holder)
        };
        let is_mine = |name: &str| holder(name) == Some(&*self.holder);
        let is_free = |name: &str| holder(name).is_none_or(self.is_dead_node);
        Ok(names
            .iter()
            .position(|name| is_mine(name))
            .or_else(|| names.iter().position(|name| is_free(name))))
    }
}
