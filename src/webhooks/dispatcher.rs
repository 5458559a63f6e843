//! Has every webhook delivered by one node, under a lease: of all nodes, the one that holds it runs a courier for each
//! webhook that is not parked; the others stand by and take over within seconds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{UserId, WebhookEvent, WebhookId};
use projections::lease::{Claim, TERM};
use serde_json::json;
use store::{EventQuery, Leases, Position, StoreError, StreamId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::courier::Courier;
use super::sender::Sender;
use super::tools::Tools;
use crate::query::{QueryError, WebhookQueries};

/// The lease.
const LEASE: &str = "webhooks";
/// How often it is renewed, and how often others look whether it is free.
const RENEWED: Duration = Duration::from_millis(800);
/// How often it is looked for webhooks that have come, changed or gone.
const LOOK: Duration = Duration::from_millis(250);
/// The pause after which a courier that has ended may begin again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether the owners of webhooks are still there.
const OWNERS: Duration = Duration::from_secs(10);
/// Rows read at once.
const PAGE: usize = 500;
/// How long couriers are waited for at the end.
const LAST_WORD: Duration = Duration::from_secs(3);

/// Delivers webhooks whenever no other node does.
pub(crate) struct Dispatcher {
    pub(crate) tools: Tools,
    pub(crate) sender: Sender,
    pub(crate) rows: WebhookQueries,
    pub(crate) leases: Arc<dyn Leases>,
    /// This node.
    pub(crate) holder: String,
    /// Whether a holder is certain to be gone.
    pub(crate) is_gone: fn(&str) -> bool,
}

/// A dispatcher at work, until it is dropped.
pub(crate) struct DispatcherHandle {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
    ended: CancellationToken,
}

impl DispatcherHandle {
    /// Lets couriers write down what they have delivered, and gives the lease back.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if timeout(LAST_WORD + TERM, self.ended.cancelled()).await.is_err() {
            self.task.abort();
        }
    }
}

/// A courier at work.
struct Engaged {
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
            let claim = Claim::new(Arc::clone(&self.leases), LEASE, &self.holder);
            self.run(&claim, &stopped).await;
            claim.give_back(&json!({})).await;
        }));
        DispatcherHandle { stop, task, ended }
    }

    async fn run(&self, claim: &Claim, stop: &CancellationToken) {
        let mut looked = Some(Position::START);
        while !stop.is_cancelled() {
            // Where nobody has ever registered any, no lease is asked for.
            if let Some(after) = looked {
                looked = self.look_after(after).await;
            }
            let pause = if looked.is_some() { RENEWED } else { self.take_turn(claim, stop).await };
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Delivers as long as this node holds the lease, if it gets it; says how long to wait before it is asked for again.
    async fn take_turn(&self, claim: &Claim, stop: &CancellationToken) -> Duration {
        match claim.take(&json!({})).await {
            Ok(lease) if lease.holder == self.holder => {
                tracing::info!("this node delivers webhooks");
                tokio::select! {
                    biased;
                    () = self.renew(claim) => {}
                    () = self.work(stop) => {}
                }
                self.tools.counts.stand(0, 0);
                claim.give_back(&json!({})).await;
                RENEWED
            }
            Ok(lease) if (self.is_gone)(&lease.holder) => {
                let released = self.leases.release(&lease.name, &lease.holder, &lease.report).await;
                if released.is_ok() { Duration::ZERO } else { RENEWED }
            }
            Ok(lease) => RENEWED.min(lease.left),
            Err(error) => {
                tracing::debug!(%error, "cannot take the lease of webhooks");
                RENEWED
            }
        }
    }

    /// Looks for the first webhook that was ever registered; gives how far the log holds none, or nothing if it has one.
    async fn look_after(&self, after: Position) -> Option<Position> {
        let (head, types) = (self.tools.store.signal().head, vec![WebhookEvent::REGISTERED.to_owned()]);
        if head <= after {
            return Some(after);
        }
        let query = EventQuery { after, until: Some(head), limit: 1, types, ..EventQuery::default() };
        match self.tools.store.page(&query).await {
            Ok(page) if page.events.is_empty() => Some(page.next),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, "cannot tell whether there are webhooks");
                Some(after)
            }
        }
    }

    /// Renews the lease until it is lost.
    async fn renew(&self, claim: &Claim) {
        let mut renewed = Instant::now();
        loop {
            sleep(RENEWED).await;
            let (left, asked) = (TERM.saturating_sub(renewed.elapsed()), Instant::now());
            match timeout(left, claim.take(&json!({}))).await {
                // From when it was asked for: the answer may have taken its time.
                Ok(Ok(lease)) if lease.holder == self.holder => renewed = asked,
                Ok(Ok(lease)) => {
                    tracing::info!(owner = lease.holder, "another node delivers webhooks");
                    return;
                }
                Ok(Err(_)) if renewed.elapsed() < TERM => {}
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!("the lease of webhooks has run out");
                    return;
                }
            }
        }
    }

    /// Has a courier for each webhook that is to be delivered, until it is stopped.
    async fn work(&self, stop: &CancellationToken) {
        let mut couriers = Couriers {
            dispatcher: self,
            stop: CancellationToken::new(),
            engaged: HashMap::new(),
            owners: HashMap::new(),
        };
        let mut looked: Option<(Position, Instant)> = None;
        loop {
            let reached = self.rows.reached();
            if looked.is_none_or(|(at, since)| at != reached || since.elapsed() > AGAIN) {
                match couriers.arrange().await {
                    Ok(()) => looked = Some((reached, Instant::now())),
                    Err(error) => tracing::warn!(%error, "cannot read the webhooks; trying again"),
                }
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stop.cancelled() => return couriers.end().await,
            }
        }
    }
}

struct Couriers<'a> {
    dispatcher: &'a Dispatcher,
    stop: CancellationToken,
    engaged: HashMap<WebhookId, Engaged>,
    /// When their owners were last found to be there.
    owners: HashMap<UserId, Instant>,
}

impl Couriers<'_> {
    async fn arrange(&mut self) -> Result<(), QueryError> {
        let (mut after, mut there, mut parked) = (None, HashSet::new(), 0);
        loop {
            let page = self.dispatcher.rows.page(after, PAGE).await?;
            for row in &page {
                there.insert(row.id);
                parked += usize::from(row.parked.is_some());
                self.look_for(row.owner, row.id).await;
                self.engage(row.id, row.version, row.parked.is_some())?;
            }
            after = page.last().map(|row| row.id);
            if page.len() < PAGE {
                break;
            }
        }
        self.dispatcher.tools.counts.stand(there.len() - parked, parked);
        for (id, engaged) in &self.engaged {
            if !there.contains(id) {
                // It was deleted: the courier finds out, forgets what there is to forget, and ends.
                engaged.version.send_if_modified(|version| std::mem::replace(version, u64::MAX) != u64::MAX);
            }
        }
        self.engaged.retain(|id, engaged| there.contains(id) || !engaged.task.is_finished());
        Ok(())
    }

    /// Deletes the webhook of an owner who was erased, also one to which nothing is delivered.
    async fn look_for(&mut self, owner: UserId, id: WebhookId) {
        if self.owners.get(&owner).is_some_and(|found| found.elapsed() < OWNERS) {
            return;
        }
        match self.dispatcher.tools.delete_if_orphaned(owner, id).await {
            Ok(true) => {}
            Ok(false) => drop(self.owners.insert(owner, Instant::now())),
            Err(error) => {
                tracing::debug!(webhook = %id, %error, "cannot tell whether its owner is still there");
            }
        }
    }

    fn engage(&mut self, id: WebhookId, version: u64, is_parked: bool) -> Result<(), StoreError> {
        if let Some(engaged) = self.engaged.get(&id) {
            let is_news =
                engaged.version.send_if_modified(|known| std::mem::replace(known, version) != version);
            if !engaged.task.is_finished() || (!is_news && engaged.since.elapsed() < AGAIN) {
                return Ok(());
            }
            self.engaged.remove(&id);
        }
        if is_parked {
            return Ok(());
        }
        let stream = StreamId::known(id.stream())?;
        let (news, version) = watch::channel(version);
        let Dispatcher { tools, sender, .. } = self.dispatcher;
        let (tools, sender, stop) = (tools.clone(), sender.clone(), self.stop.clone());
        let courier = Courier { id, stream, tools, sender, version, stop };
        let task = AbortOnDropHandle::new(tokio::spawn(courier.run()));
        self.engaged.insert(id, Engaged { version: news, task, since: Instant::now() });
        Ok(())
    }

    /// Lets them write down what they have delivered.
    async fn end(&mut self) {
        self.stop.cancel();
        let mut ending = JoinSet::new();
        for (_, engaged) in self.engaged.drain() {
            ending.spawn(engaged.task);
        }
        drop(timeout(LAST_WORD, ending.join_all()).await);
    }
}
