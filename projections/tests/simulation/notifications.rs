//! What one process has heard of the log and the read models, and how it hears: late, in another order, or
//! never.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::{ProgressTracker, ProjectionVersions, StoreProgress};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::lifetime::ProcessLifetime;
use crate::shared_state::Simulation;

/// How often a process looks by itself, as both databases do.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// One process's board. Every follower gets a channel of its own, since tokio wakes several subscribers of
/// one channel in an order that no seed determines.
#[derive(Default)]
pub(crate) struct NodeProgress {
    known: ProgressTracker,
    subscribers: Mutex<Vec<watch::Sender<StoreProgress>>>,
}

impl NodeProgress {
    pub(crate) fn subscribe(&self) -> watch::Receiver<StoreProgress> {
        let (sender, receiver) = watch::channel(self.progress());
        self.subscribers.lock().unwrap().push(sender);
        receiver
    }

    /// Posts news and wakes who follows, if it is any.
    pub(crate) fn publish(&self, news: impl FnOnce(&ProgressTracker)) {
        news(&self.known);
        let now = self.progress();
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

    /// Posts all that another board shows.
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

/// The notifications of a process. A notifications_blocked one learns only from its own calls, and by asking
/// again.
pub(crate) struct Notifications {
    board: Arc<NodeProgress>,
    lifetime: Arc<ProcessLifetime>,
    notifications_blocked: bool,
}

impl Notifications {
    pub(crate) fn new(
        board: Arc<NodeProgress>,
        lifetime: Arc<ProcessLifetime>,
        notifications_blocked: bool,
    ) -> Self {
        Self { board, lifetime, notifications_blocked }
    }

    /// Something has moved in the database.
    pub(crate) fn deliver(&self, simulation: &Simulation, progress: &StoreProgress) {
        if self.notifications_blocked || self.lifetime.is_over() {
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

    /// Makes up for what was not heard, once a second.
    pub(crate) async fn poll(&self, simulation: &Simulation) {
        loop {
            sleep(POLL_INTERVAL).await;
            if self.notifications_blocked {
                continue;
            }
            if let Some(delay) = simulation.faults.notification_delay(&simulation.random) {
                sleep(delay).await;
                self.board.copy(&simulation.progress());
            }
        }
    }
}
