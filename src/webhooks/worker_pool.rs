//! The worker pool of a delivering node: one delivery worker per active webhook of its shards, reconciled with the
//! read model.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{UserId, WebhookId};
use store::{Position, StoreError, StreamCache, StreamId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::cursor_recorder::CursorRecorder;
use super::delivery_context::DeliveryContext;
use super::delivery_state::{DeliveryState, SharedState};
use super::delivery_worker::DeliveryWorker;
use super::sender::WebhookSender;
use super::shards::Shards;
use super::shared_reader::SharedReader;
use crate::query::QueryError;

/// How often the workers are reconciled with the read model, if it has changed.
const RECONCILE_INTERVAL: Duration = Duration::from_millis(250);
/// The pause before a worker that has ended is restarted.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How often the workers are reconciled although nothing has changed.
const SLOW_RECONCILE_INTERVAL: Duration = Duration::from_secs(10);
/// How often the owners of webhooks are looked up, to delete the webhooks of erased owners.
const OWNER_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How many webhooks are known to be unchanged without a read for each.
const CACHED_VERSIONS: usize = 10_000;
/// Rows read at once.
const PAGE_SIZE: usize = 500;
/// How long workers may take to flush their cursors when they are stopped.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// The workers of this node; aborted on drop.
pub(super) struct WorkerPool<'a> {
    context: &'a DeliveryContext,
    sender: &'a WebhookSender,
    recorder: CursorRecorder,
    reader: SharedReader,
    versions: StreamCache<u64>,
    /// Dropped after the workers have stopped.
    _tasks: [AbortOnDropHandle<()>; 2],
    stop: CancellationToken,
    /// The shards of this node.
    shards: watch::Receiver<Shards>,
    running: HashMap<WebhookId, RunningWorker>,
    /// The number of suspended webhooks, which have no worker.
    suspended: usize,
    /// The latest look-up of the owners, and when it began.
    owner_check: Option<(Instant, AbortOnDropHandle<()>)>,
}

struct RunningWorker {
    version: watch::Sender<u64>,
    state: SharedState,
    /// Cancelled when another node delivers its shard.
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
    since: Instant,
}

impl RunningWorker {
    fn has_to_restart(&self) -> bool {
        self.task.is_finished() && !self.state.is_deleted() && !self.stop.is_cancelled()
    }
}

impl<'a> WorkerPool<'a> {
    pub(super) fn new(
        context: &'a DeliveryContext,
        sender: &'a WebhookSender,
        shards: watch::Receiver<Shards>,
    ) -> Self {
        let (recorder, recording) = CursorRecorder::start(Arc::clone(&context.deliveries));
        let (reader, reading) = SharedReader::start(context.store.clone());
        Self {
            context,
            sender,
            recorder,
            reader,
            versions: StreamCache::new(context.store.clone(), CACHED_VERSIONS),
            _tasks: [recording, reading],
            stop: CancellationToken::new(),
            shards,
            running: HashMap::new(),
            suspended: 0,
            owner_check: None,
        }
    }

    /// Runs a worker for each active webhook until stopped, then lets the workers flush their cursors.
    pub(super) async fn run(mut self, stop: &CancellationToken) {
        let mut reconciled: Option<(Position, Instant)> = None;
        loop {
            let has_ended = self.running.values().any(RunningWorker::has_to_restart);
            let interval = if has_ended { RESTART_PAUSE } else { SLOW_RECONCILE_INTERVAL };
            // The position first, so that no later event can seem to be in the rows.
            let (projected, changed) = (self.context.rows.projected_position(), self.reader.last_change());
            let is_current = |(at, since): (Position, Instant)| {
                (projected == at || changed <= at) && since.elapsed() <= interval
            };
            if self.shards.has_changed().unwrap_or_default() || !reconciled.is_some_and(is_current) {
                let result = tokio::select! {
                    result = self.reconcile() => result,
                    () = stop.cancelled() => return self.stop_all().await,
                };
                match result {
                    Ok(()) => reconciled = Some((projected, Instant::now())),
                    Err(error) => {
                        reconciled = None;
                        tracing::warn!(%error, "reading the read model `webhooks` failed; retrying");
                    }
                }
            }
            self.publish_states();
            let mut shards = self.shards.clone();
            tokio::select! {
                () = sleep(RECONCILE_INTERVAL) => {}
                Ok(()) = shards.changed() => {}
                () = stop.cancelled() => return self.stop_all().await,
            }
        }
    }

    async fn reconcile(&mut self) -> Result<(), QueryError> {
        let shards = *self.shards.borrow_and_update();
        self.running
            .iter()
            .filter(|(id, _)| !shards.contains(**id))
            .for_each(|(_, worker)| worker.stop.cancel());
        let (mut after, mut found) = (None, HashMap::new());
        self.suspended = 0;
        loop {
            let page = self.context.rows.page(after, PAGE_SIZE).await?;
            for row in page.iter().filter(|row| shards.contains(row.id)) {
                found.insert(row.id, row.owner);
                self.suspended += usize::from(row.suspended.is_some());
                self.spawn_worker(row.id, row.version, row.suspended.is_some())?;
            }
            after = page.last().map(|row| row.id);
            if page.len() < PAGE_SIZE {
                break;
            }
        }
        for (id, worker) in &self.running {
            if !found.contains_key(id) {
                // The webhook was deleted. Notified of a change, the worker reads that in the log, deletes
                // the cursor and ends.
                worker.version.send_if_modified(|version| std::mem::replace(version, u64::MAX) != u64::MAX);
            }
        }
        self.running.retain(|id, worker| found.contains_key(id) || !worker.task.is_finished());
        found.retain(|id, _| self.running.get(id).is_none_or(|worker| !worker.state.is_deleted()));
        self.check_owners(found);
        Ok(())
    }

    fn publish_states(&self) {
        let running = self.running.values().filter(|worker| !worker.task.is_finished());
        let suspended = std::iter::repeat_n(DeliveryState::Suspended, self.suspended);
        let states: Vec<_> = running.map(|worker| worker.state.get()).chain(suspended).collect();
        self.context.metrics.set_webhooks(&states);
    }

    /// Deletes the webhooks of erased owners, also suspended ones, beside the workers: looking up an owner may
    /// take seconds while the read model `users` is behind.
    fn check_owners(&mut self, found: HashMap<WebhookId, UserId>) {
        let is_due = |(begun, check): &(Instant, AbortOnDropHandle<()>)| {
            begun.elapsed() >= OWNER_CHECK_INTERVAL && check.is_finished()
        };
        if !self.owner_check.as_ref().is_none_or(is_due) {
            return;
        }
        let context = self.context.clone();
        let check = tokio::spawn(async move {
            let mut existing = HashSet::new();
            for (id, owner) in found {
                if existing.contains(&owner) {
                    continue;
                }
                match context.delete_if_orphaned(owner, id).await {
                    Ok(true) => {}
                    Ok(false) => drop(existing.insert(owner)),
                    Err(error) => {
                        tracing::debug!(webhook = %id, %error, "looking up the owner of a webhook failed");
                    }
                }
            }
        });
        self.owner_check = Some((Instant::now(), AbortOnDropHandle::new(check)));
    }

    /// Spawns a worker if the webhook is active and has none; notifies a running one of a new version.
    fn spawn_worker(&mut self, id: WebhookId, version: u64, is_suspended: bool) -> Result<(), StoreError> {
        if let Some(worker) = self.running.get(&id) {
            let has_changed =
                worker.version.send_if_modified(|known| std::mem::replace(known, version) != version);
            if worker.state.is_deleted()
                || !worker.task.is_finished()
                || (!has_changed && !worker.stop.is_cancelled() && worker.since.elapsed() < RESTART_PAUSE)
            {
                return Ok(());
            }
            self.running.remove(&id);
        }
        if is_suspended {
            return Ok(());
        }
        let stream = StreamId::from_trusted(id.stream())?;
        let (notify, version) = watch::channel(version);
        let (context, sender, stop) = (self.context.clone(), self.sender.clone(), self.stop.child_token());
        let (state, recorder) = (SharedState::default(), self.recorder.clone());
        let worker = DeliveryWorker {
            id,
            stream,
            context,
            sender,
            recorder,
            reader: self.reader.clone(),
            versions: self.versions.clone(),
            version,
            state: state.clone(),
            stop: stop.clone(),
            refused_cursor: None,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(worker.run()));
        self.running.insert(id, RunningWorker { version: notify, state, stop, task, since: Instant::now() });
        Ok(())
    }

    async fn stop_all(&mut self) {
        self.stop.cancel();
        let mut stopping = JoinSet::new();
        for (_, worker) in self.running.drain() {
            stopping.spawn(worker.task);
        }
        drop(timeout(STOP_TIMEOUT, stopping.join_all()).await);
    }
}
