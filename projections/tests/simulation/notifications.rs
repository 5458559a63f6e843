//! The progress that one process knows, and its notifications: delayed, reordered, or lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::{Position, ProgressTracker, ProjectionVersions, StoreProgress};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::lifetime::ProcessLifetime;
use crate::shared_state::Simulation;

/// The polling interval of a process, as in both backends.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The progress known to one process. Every subscriber has its own channel, since the order in which tokio
/// wakes several subscribers of one channel is not deterministic.
#[derive(Default)]
pub(crate) struct NodeProgress {
    known: ProgressTracker,
    subscribers: Mutex<Vec<watch::Sender<StoreProgress>>>,
    /// When this process learnt of each head.
    heads: Mutex<Vec<(Position, Instant)>>,
}

impl NodeProgress {
    pub(crate) fn subscribe(&self) -> watch::Receiver<StoreProgress> {
        let (sender, receiver) = watch::channel(self.progress());
        self.subscribers.lock().unwrap().push(sender);
        receiver
    }

    /// Publishes progress and wakes subscribers if it changed.
    pub(crate) fn publish(&self, news: impl FnOnce(&ProgressTracker)) {
        news(&self.known);
        let now = self.progress();
        let mut heads = self.heads.lock().unwrap();
        if heads.last().is_none_or(|(known, _)| *known < now.head) {
            heads.push((now.head, Instant::now()));
        }
        drop(heads);
        let mut subscribers = self.subscribers.lock().unwrap();
        subscribers.retain(|subscriber| !subscriber.is_closed());
        for subscriber in subscribers.iter() {
            subscriber.send_if_modified(|progress| {
                let news = *progress != now;
                progress.clone_from(&now);
                news
            });
        }
    }

    /// For how long this process has known of an event after `applied`.
    pub(crate) fn age_after(&self, applied: Position) -> Duration {
        let heads = self.heads.lock().unwrap();
        heads.iter().find(|(head, _)| *head > applied).map(|(_, at)| at.elapsed()).unwrap_or_default()
    }

    /// Publishes all progress of the database.
    fn copy(&self, progress: &StoreProgress) {
        let known = self.progress();
        self.publish(|board| {
            board.advance_head(progress.head);
            for (table, checkpoint) in &progress.checkpoints {
                board.advance_checkpoint(table, *checkpoint);
            }
            let is_news = |(name, versions): &(&Arc<str>, &Arc<ProjectionVersions>)| {
                known.versions.get(*name).is_none_or(|known| known.revision < versions.revision)
            };
            for (projection, versions) in progress.versions.iter().filter(is_news) {
                board.advance_versions(projection, versions.as_ref().clone());
            }
        });
    }

    fn progress(&self) -> StoreProgress {
        self.known.subscribe().borrow_and_update().clone()
    }
}

/// The notifications of a process. If blocked, it learns only from its own calls.
pub(crate) struct Notifications {
    board: Arc<NodeProgress>,
    lifetime: Arc<ProcessLifetime>,
    is_blocked: bool,
}

impl Notifications {
    pub(crate) fn new(board: Arc<NodeProgress>, lifetime: Arc<ProcessLifetime>, is_blocked: bool) -> Self {
        Self { board, lifetime, is_blocked }
    }

    /// Delivers a change of the database.
    pub(crate) fn deliver(&self, simulation: &Simulation, progress: &StoreProgress) {
        if self.is_blocked || self.lifetime.is_over() {
            return;
        }
        if let Some(delay) = simulation.faults.notification_delay(&simulation.random) {
            let (board, progress) = (Arc::clone(&self.board), progress.clone());
            tokio::spawn(async move {
                sleep(delay).await;
                board.copy(&progress);
            });
        }
    }

    /// Polls for lost notifications.
    pub(crate) async fn poll(&self, simulation: &Simulation) {
        loop {
            sleep(POLL_INTERVAL).await;
            if self.is_blocked {
                continue;
            }
            if let Some(delay) = simulation.faults.notification_delay(&simulation.random) {
                sleep(delay).await;
                self.board.copy(&simulation.progress());
            }
        }
    }
}
