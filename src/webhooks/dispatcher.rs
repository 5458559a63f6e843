//! Leader election for webhook delivery: each node that holds one of its leases runs a worker pool for its share of
//! the webhooks; the others are standbys and take over within seconds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::WebhookEvent;
use store::leader_election::RENEW_INTERVAL;
use store::{EventQuery, LeaseStore, Position};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::delivery_context::DeliveryContext;
use super::sender::WebhookSender;
use super::shards::{LEASES, ShardAssignment, Shards};
use super::worker_pool::{STOP_TIMEOUT, WorkerPool};
use crate::leader_job::LeaderJob;

/// How often the log is searched for a first webhook, registered by another process. One that this process
/// registers is noticed at once.
const SEARCH_INTERVAL: Duration = Duration::from_secs(3);

/// Delivers webhooks while this node holds a lease.
pub(crate) struct Dispatcher {
    pub(crate) leases: Arc<dyn LeaseStore>,
    pub(crate) context: DeliveryContext,
    pub(crate) sender: WebhookSender,
}

#[async_trait]
impl LeaderJob for Dispatcher {
    const LEASES: &'static [&'static str] = LEASES;
    const STOP_TIMEOUT: Duration = STOP_TIMEOUT;

    /// Waits until the log contains the registration of a webhook.
    async fn wait_until_needed(&self) {
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

    /// Delivers until this node is stopped; the workers then flush their cursors.
    async fn lead(&self, lease: usize, stop: &CancellationToken) {
        let (publish, shards) = watch::channel(Shards::default());
        let assignment = ShardAssignment { leases: Arc::clone(&self.leases), own: lease };
        tokio::select! {
            () = WorkerPool::new(&self.context, &self.sender, shards).run(stop) => {}
            () = assignment.run(&publish) => {}
        }
    }

    fn ended(&self) {
        self.context.metrics.set_webhooks(&[]);
    }
}
