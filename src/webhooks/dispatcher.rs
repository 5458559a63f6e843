//! Leader election for webhook delivery: the one node that holds the lease `webhooks` runs the worker pool;
//! the others are standbys and take over within seconds.

use std::sync::Arc;
use std::time::Duration;

use domain::WebhookEvent;
use serde_json::{Map, Value};
use store::leader_election::{LEASE_TERM, RENEW_INTERVAL};
use store::{EventQuery, LeaderElection, LeaseStore, Position};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::delivery_context::DeliveryContext;
use super::sender::WebhookSender;
use super::worker_pool::{STOP_TIMEOUT, WorkerPool};

const LEASE: &str = "webhooks";
/// How often the log is searched for a first webhook, registered by another process. One that this process
/// registers is noticed at once.
const SEARCH_INTERVAL: Duration = Duration::from_secs(3);

/// Delivers webhooks while this node is the leader.
pub(crate) struct Dispatcher {
    pub(crate) context: DeliveryContext,
    pub(crate) sender: WebhookSender,
    pub(crate) leases: Arc<dyn LeaseStore>,
    /// The name of this node.
    pub(crate) holder: String,
    /// Whether the process of a lease holder has certainly ended, so that its lease need not expire.
    pub(crate) is_dead_node: fn(&str) -> bool,
}

/// The leader has nothing to report.
type Election = LeaderElection<Map<String, Value>>;

/// A running dispatcher; aborted on drop.
pub(crate) struct DispatcherHandle {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
    ended: CancellationToken,
}

impl DispatcherHandle {
    /// Lets the workers flush their cursors, and releases the lease.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if timeout(STOP_TIMEOUT + LEASE_TERM, self.ended.cancelled()).await.is_err() {
            self.task.abort();
        }
    }
}

impl Dispatcher {
    pub(crate) fn start(self) -> DispatcherHandle {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, end_guard) = (stop.clone(), ended.clone().drop_guard());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let _end_guard = end_guard;
            let election = Election::new(Arc::clone(&self.leases), LEASE, &self.holder)
                .with_dead_holder_check(self.is_dead_node);
            self.run(&election, &stopped).await;
            election.release().await;
        }));
        DispatcherHandle { stop, task, ended }
    }

    async fn run(&self, election: &Election, stop: &CancellationToken) {
        // Until a first webhook is registered, no lease is acquired.
        tokio::select! {
            () = self.wait_for_first_webhook() => {}
            () = stop.cancelled() => return,
        }
        loop {
            tokio::select! {
                () = election.wait_until_leader() => {}
                () = stop.cancelled() => return,
            }
            self.lead(election, stop).await;
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Delivers until this node is stopped or no longer the leader.
    async fn lead(&self, election: &Election, stop: &CancellationToken) {
        let pool = WorkerPool::new(&self.context, &self.sender);
        let end = tokio::select! {
            biased;
            end = election.renew(|| None) => Some(end),
            () = pool.run(stop) => None,
        };
        self.context.metrics.set_webhooks(&[]);
        let Some(end) = end else { return };
        tokio::select! {
            () = election.step_down(end) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Waits until the log contains the registration of a webhook.
    async fn wait_for_first_webhook(&self) {
        let (store, mut after) = (&self.context.store, Position::START);
        loop {
            let head = store.progress().head;
            if after < head {
                let types = vec![WebhookEvent::REGISTERED.to_owned()];
                let query = EventQuery { after, until: Some(head), limit: 1, types, ..EventQuery::default() };
                // Not decrypted: the webhook that comes first may have a damaged key.
                match store.read_sealed(&query).await {
                    Ok(found) if found.is_empty() => after = head,
                    Ok(_) => return,
                    Err(error) => {
                        tracing::debug!(%error, "scanning the log for webhooks failed; retrying");
                    }
                }
            }
            if after < head {
                sleep(RENEW_INTERVAL).await;
                continue;
            }
            tokio::select! {
                () = sleep(SEARCH_INTERVAL) => {}
                () = self.context.commands.registrations().notified() => {}
            }
        }
    }
}
