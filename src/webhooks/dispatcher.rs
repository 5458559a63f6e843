//! Has every webhook delivered by one node, under a lease: of all nodes, the one that holds it runs a worker
//! for each webhook that is not suspended; the others stand by and take over within seconds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{UserId, WebhookEvent, WebhookId};
use serde_json::{Map, Value};
use store::leader_election::{LEASE_TERM, RENEW_INTERVAL};
use store::{EventQuery, LeaderElection, LeaseStore, Position, StoreError, StreamId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::delivery_context::DeliveryContext;
use super::delivery_worker::DeliveryWorker;
use super::sender::WebhookSender;
use crate::query::{QueryError, WebhookQueries};

/// The lease.
const LEASE: &str = "webhooks";
/// How often it is looked for webhooks that have come, changed or gone.
const RECONCILE_INTERVAL: Duration = Duration::from_millis(250);
/// The pause after which a worker that has ended may begin again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether the owners of webhooks are still there.
const OWNER_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Rows read at once.
const PAGE_SIZE: usize = 500;
/// How long workers are waited for at the end.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Delivers webhooks whenever no other node does.
pub(crate) struct Dispatcher {
    pub(crate) context: DeliveryContext,
    pub(crate) sender: WebhookSender,
    pub(crate) rows: WebhookQueries,
    pub(crate) leases: Arc<dyn LeaseStore>,
    /// This node.
    pub(crate) holder: String,
    /// Whether a holder is certain to be gone.
    pub(crate) is_dead_node: fn(&str) -> bool,
}

/// The leader has nothing to report.
type Election = LeaderElection<Map<String, Value>>;

/// A dispatcher at work, until it is dropped.
pub(crate) struct DispatcherHandle {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
    ended: CancellationToken,
}

impl DispatcherHandle {
    /// Lets workers write down what they have delivered, and gives the lease back.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if timeout(STOP_TIMEOUT + LEASE_TERM, self.ended.cancelled()).await.is_err() {
            self.task.abort();
        }
    }
}

/// A worker at work.
struct RunningWorker {
    version: watch::Sender<u64>,
    task: AbortOnDropHandle<()>,
    since: Instant,
}

impl Dispatcher {
    /// Starts it in the background.
    pub(crate) fn start(self) -> DispatcherHandle {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, over) = (stop.clone(), ended.clone().drop_guard());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let _over = over;
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
            // Without any webhook in the log, no lease is requested.
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
        let end = tokio::select! {
            biased;
            end = election.renew(|| None) => Some(end),
            () = self.work(stop) => None,
        };
        self.context.metrics.set_webhooks(0, 0);
        let Some(end) = end else { return };
        tokio::select! {
            () = election.step_down(end) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Looks for the first webhook that was ever registered; gives how far the log holds none, or nothing if
    /// it has one.
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
                tracing::debug!(%error, "cannot tell whether there are webhooks");
                Some(after)
            }
        }
    }

    /// Has a worker for each webhook that is to be delivered, until it is stopped.
    async fn work(&self, stop: &CancellationToken) {
        let mut workers = WorkerPool {
            dispatcher: self,
            stop: CancellationToken::new(),
            running: HashMap::new(),
            owners: HashMap::new(),
        };
        let mut looked: Option<(Position, Instant)> = None;
        loop {
            let reached = self.rows.projected_position();
            if looked.is_none_or(|(at, since)| at != reached || since.elapsed() > RESTART_PAUSE) {
                match workers.reconcile().await {
                    Ok(()) => looked = Some((reached, Instant::now())),
                    Err(error) => tracing::warn!(%error, "cannot read the webhooks; trying again"),
                }
            }
            tokio::select! {
                () = sleep(RECONCILE_INTERVAL) => {}
                () = stop.cancelled() => return workers.stop_all().await,
            }
        }
    }
}

struct WorkerPool<'a> {
    dispatcher: &'a Dispatcher,
    stop: CancellationToken,
    running: HashMap<WebhookId, RunningWorker>,
    /// When their owners were last found to be there.
    owners: HashMap<UserId, Instant>,
}

impl WorkerPool<'_> {
    async fn reconcile(&mut self) -> Result<(), QueryError> {
        let (mut after, mut found, mut suspended) = (None, HashSet::new(), 0);
        loop {
            let page = self.dispatcher.rows.page(after, PAGE_SIZE).await?;
            for row in &page {
                found.insert(row.id);
                suspended += usize::from(row.suspended.is_some());
                self.check_owner(row.owner, row.id).await;
                self.spawn_worker(row.id, row.version, row.suspended.is_some())?;
            }
            after = page.last().map(|row| row.id);
            if page.len() < PAGE_SIZE {
                break;
            }
        }
        self.dispatcher.context.metrics.set_webhooks(found.len() - suspended, suspended);
        for (id, worker) in &self.running {
            if !found.contains(id) {
                // It was deleted: the worker finds out, forgets what there is to forget, and ends.
                worker.version.send_if_modified(|version| std::mem::replace(version, u64::MAX) != u64::MAX);
            }
        }
        self.running.retain(|id, worker| found.contains(id) || !worker.task.is_finished());
        Ok(())
    }

    /// Deletes the webhook of an owner who was erased, also one to which nothing is delivered.
    async fn check_owner(&mut self, owner: UserId, id: WebhookId) {
        if self.owners.get(&owner).is_some_and(|found| found.elapsed() < OWNER_CHECK_INTERVAL) {
            return;
        }
        match self.dispatcher.context.delete_if_orphaned(owner, id).await {
            Ok(true) => {}
            Ok(false) => drop(self.owners.insert(owner, Instant::now())),
            Err(error) => {
                tracing::debug!(webhook = %id, %error, "cannot tell whether its owner is still there");
            }
        }
    }

    fn spawn_worker(&mut self, id: WebhookId, version: u64, is_suspended: bool) -> Result<(), StoreError> {
        if let Some(worker) = self.running.get(&id) {
            let is_news =
                worker.version.send_if_modified(|known| std::mem::replace(known, version) != version);
            if !worker.task.is_finished() || (!is_news && worker.since.elapsed() < RESTART_PAUSE) {
                return Ok(());
            }
            self.running.remove(&id);
        }
        if is_suspended {
            return Ok(());
        }
        let stream = StreamId::from_trusted(id.stream())?;
        let (news, version) = watch::channel(version);
        let Dispatcher { context, sender, .. } = self.dispatcher;
        let (context, sender, stop) = (context.clone(), sender.clone(), self.stop.clone());
        let worker = DeliveryWorker { id, stream, context, sender, version, stop };
        let task = AbortOnDropHandle::new(tokio::spawn(worker.run()));
        self.running.insert(id, RunningWorker { version: news, task, since: Instant::now() });
        Ok(())
    }

    /// Lets them write down what they have delivered.
    async fn stop_all(&mut self) {
        self.stop.cancel();
        let mut ending = JoinSet::new();
        for (_, worker) in self.running.drain() {
            ending.spawn(worker.task);
        }
        drop(timeout(STOP_TIMEOUT, ending.join_all()).await);
    }
}
