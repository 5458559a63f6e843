//! Runs a job on the one node that holds its lease; the others are standbys and take over within seconds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use store::leader_election::LEASE_TERM;
use store::{LeaderElection, LeaseStore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What the leader does.
#[async_trait]
pub(crate) trait LeaderJob: Send + Sync + 'static {
    /// The name of the lease.
    const LEASE: &'static str;
    /// How long [`LeaderJob::lead`] may take to end once it is stopped.
    const STOP_TIMEOUT: Duration;

    /// Waits until the job is needed. Until then no lease is acquired.
    async fn wait_until_needed(&self);

    /// Works until stopped. It is dropped if this node is no longer the leader.
    async fn lead(&self, stop: &CancellationToken);

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
    let election = Election::new(Arc::clone(&candidacy.leases), J::LEASE, &candidacy.holder)
        .with_dead_holder_check(candidacy.is_dead_node);
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        let _end_guard = end_guard;
        run(&job, &election, &stopped).await;
        election.release().await;
    }));
    LeaderJobHandle { stop, stop_timeout: J::STOP_TIMEOUT, task, ended }
}

async fn run<J: LeaderJob>(job: &J, election: &Election, stop: &CancellationToken) {
    tokio::select! {
        () = job.wait_until_needed() => {}
        () = stop.cancelled() => return,
    }
    loop {
        tokio::select! {
            () = election.wait_until_leader() => {}
            () = stop.cancelled() => return,
        }
        let end = tokio::select! {
            biased;
            end = election.renew(|| None) => Some(end),
            () = job.lead(stop) => None,
        };
        job.ended();
        if let Some(end) = end {
            tokio::select! {
                () = election.step_down(end) => {}
                () = stop.cancelled() => {}
            }
        }
        if stop.is_cancelled() {
            return;
        }
    }
}
