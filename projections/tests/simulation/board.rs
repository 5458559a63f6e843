//! What one process has heard of the log and the read models, and how it hears: late, in another order, or never.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::{Signal, SignalBoard, Versions};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::life::Life;
use crate::world::World;

/// How often a process looks by itself, as both databases do.
const LOOK: Duration = Duration::from_secs(1);

/// One process's board. Every follower gets a channel of its own, since tokio wakes several followers of one channel
/// in an order that no seed determines.
#[derive(Default)]
pub(crate) struct Board {
    known: SignalBoard,
    followers: Mutex<Vec<watch::Sender<Signal>>>,
}

impl Board {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Signal> {
        let (sender, receiver) = watch::channel(self.signal());
        self.followers.lock().unwrap().push(sender);
        receiver
    }

    /// Posts news and wakes who follows, if it is any.
    pub(crate) fn post(&self, news: impl FnOnce(&SignalBoard)) {
        news(&self.known);
        let now = self.signal();
        let mut followers = self.followers.lock().unwrap();
        followers.retain(|follower| !follower.is_closed());
        for follower in followers.iter() {
            follower.send_if_modified(|signal| {
                let news = *signal != now;
                signal.clone_from(&now);
                news
            });
        }
    }

    /// Posts all that another board shows.
    fn copy(&self, signal: &Signal) {
        let known = self.signal();
        self.post(|board| {
            board.raise_head(signal.head);
            for (table, checkpoint) in &signal.checkpoints {
                board.raise_checkpoint(table, *checkpoint);
            }
            let is_news = |(name, versions): &(&Arc<str>, &Arc<Versions>)| {
                known.versions.get(*name).is_none_or(|known| known.revision < versions.revision)
            };
            for (projection, versions) in signal.versions.iter().filter(is_news) {
                board.raise_versions(projection, versions.as_ref().clone());
            }
        });
    }

    fn signal(&self) -> Signal {
        self.known.subscribe().borrow_and_update().clone()
    }
}

/// The ears of a process. A deaf one learns only from its own calls, and by asking again.
pub(crate) struct Ears {
    board: Arc<Board>,
    life: Arc<Life>,
    deaf: bool,
}

impl Ears {
    pub(crate) fn new(board: Arc<Board>, life: Arc<Life>, deaf: bool) -> Self {
        Self { board, life, deaf }
    }

    /// Something has moved in the database.
    pub(crate) fn hear(&self, world: &World, signal: &Signal) {
        if self.deaf || self.life.is_over() {
            return;
        }
        if let Some(delay) = world.weather.news(&world.chance) {
            let (board, signal) = (Arc::clone(&self.board), signal.clone());
            tokio::spawn(async move {
                sleep(delay).await;
                board.copy(&signal);
            });
        }
    }

    /// Makes up for what was not heard, once a second.
    pub(crate) async fn look(&self, world: &World) {
        loop {
            sleep(LOOK).await;
            if self.deaf {
                continue;
            }
            if let Some(delay) = world.weather.news(&world.chance) {
                sleep(delay).await;
                self.board.copy(&world.signal());
            }
        }
    }
}
