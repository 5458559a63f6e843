//! Leader election for webhook delivery: the one node that holds the lease `webhooks` runs the worker pool;
//! the others are standbys and take over within seconds.

use std::sync::Arc;

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
use crate::query::WebhookQueries;

const LEASE: &str = "webhooks";

/// Delivers webhooks while this node is the leader.
pub(crate) struct Dispatcher {
    pub(crate) context: DeliveryContext,
    pub(crate) sender: WebhookSender,
    pub(crate) rows: WebhookQueries,
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
        let mut without_webhooks = Some(Position::START);
        while !stop.is_cancelled() {
            // Until a first webhook is registered, no lease is acquired.
            if let Some(after) = without_webhooks {
                without_webhooks = self.find_webhooks(after).await;
            }
            let turn = async {
                if without_webhooks.is_some() {
                    sleep(RENEW_INTERVAL).await;
                } else {
                    election.wait_until_leader().await;
                }
            };
            tokio::select! {
                () = turn => {}
                () = stop.cancelled() => return,
            }
            if without_webhooks.is_none() {
                self.lead(election, stop).await;
            }
        }
    }

    /// Delivers until this node is stopped or no longer the leader.
    async fn lead(&self, election: &Election, stop: &CancellationToken) {
        let pool = WorkerPool::new(&self.context, &self.sender, &self.rows);
        let end = tokio::select! {
            biased;
            end = election.renew(|| None) => Some(end),
            () = pool.run(stop) => None,
        };
        self.context.metrics.set_webhooks(0, 0);
        let Some(end) = end else { return };
        tokio::select! {
            () = election.step_down(end) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Scans the log for the first registration of a webhook. `None` if there is one, else the scanned position.
    async fn find_webhooks(&self, after: Position) -> Option<Position> {
        let (head, types) = (self.context.store.progress().head, vec![WebhookEvent::REGISTERED.to_owned()]);
        if head <= after {
            return Some(after);
        }
        let query = EventQuery { after, until: Some(head), limit: 1, types, ..EventQuery::default() };
        match self.context.store.page(&query).await {
            Ok(page) if page.events.is_empty() => Some(page.next),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, "scanning the log for webhooks failed; retrying");
                Some(after)
            }
        }
    }
}
