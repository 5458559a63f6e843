//! The projector: reads the log from the checkpoint, folds, and writes rows and checkpoint in one transaction that
//! only succeeds while the checkpoint is where it was read. That comparison is what keeps rows right, with however
//! many projectors at work. It never skips: on an event it cannot take in, it halts and says so.

use std::sync::Arc;
use std::time::Duration;

use store::{Checkpoint, EventStore, Position, ReadModels, StoreError, Table};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::folding::{Folding, Stop};
use crate::projection::Projection;

/// A wake-up that got lost costs no more than this.
const POLL: Duration = Duration::from_secs(1);
/// Who was overtaken lets the other one work until nothing has moved for this long.
const GIVE_WAY: Duration = Duration::from_millis(200);
/// The pause after the first failure of the database; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Whether a projector is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is, or waits for something to do.
    Running,
    /// The database does not answer; it keeps trying.
    Failing(String),
    /// It met an event it cannot take in, and waits for a decision.
    Halted(Halt),
}

/// Where and why a projector halted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The last position that is in the rows.
    pub after: Position,
    /// What is wrong.
    pub reason: String,
}

/// How a projector is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether it is at work.
    pub health: Health,
    /// The last position that this process has seen in the rows.
    pub position: Position,
}

/// Keeps one projection up to date.
pub struct Projector {
    projection: &'static dyn Projection,
    events: EventStore,
    rows: Arc<dyn ReadModels>,
    progress: watch::Sender<Progress>,
}

/// A projector at work in the background. Dropping it stops the work after the batch at hand.
pub struct ProjectorHandle {
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

impl ProjectorHandle {
    /// How it is doing.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "nothing happens between borrowing and copying")]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Follows how it is doing.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

impl Drop for ProjectorHandle {
    fn drop(&mut self) {
        // Between two awaits at most a transaction is lost, which then was not committed, or was, whole.
        self.task.abort();
    }
}

impl Projector {
    /// A projector of this projection.
    #[must_use]
    pub fn new(projection: &'static dyn Projection, events: EventStore, rows: Arc<dyn ReadModels>) -> Self {
        let progress = Progress { health: Health::Running, position: Position::START };
        Self { projection, events, rows, progress: watch::Sender::new(progress) }
    }

    /// Starts it in the background.
    #[must_use]
    pub fn start(self) -> ProjectorHandle {
        let progress = self.progress.subscribe();
        ProjectorHandle { progress, task: tokio::spawn(self.run()) }
    }

    /// Projects what there is into the live table, up to the present head, then says how far it came.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] on an event that cannot be projected, with its position; otherwise whatever the
    /// database says.
    pub async fn catch_up(&self) -> Result<Position, StoreError> {
        self.folding(self.live()).catch_up(&mut |_, _| {}).await
    }

    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut folding = self.folding(self.live());
        let mut at = None;
        loop {
            if folding.table != self.live() {
                folding = self.folding(self.live());
                at = None;
            }
            match self.step(&folding, &mut at).await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(Stop::Overtaken) => self.give_way(folding.table).await,
                Err(Stop::Failed(error)) => {
                    tracing::warn!(projection = self.projection.name(), %error, "projecting again in {pause:?}");
                    self.report(Health::Failing(error.to_string()), None);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(Stop::Poisoned { after, reason }) => self.halt(&folding, after, reason).await,
            }
            at = None;
        }
    }

    /// Projects one batch, or waits for something to project.
    async fn step(&self, folding: &Folding, at: &mut Option<Checkpoint>) -> Result<(), Stop> {
        let from = match at {
            Some(known) => *known,
            None => self.look(folding).await.map_err(Stop::Failed)?,
        };
        // Whatever the signals say from here on is news: subscribing before reading leaves no gap in between.
        let mut signals = self.events.signals();
        let moved = folding.project_batch(from, self.events.signal().head).await?;
        self.report(Health::Running, Some(moved.position));
        *at = Some(moved);
        if moved == from {
            let news = signals.wait_for(|signal| {
                let known = signal.checkpoints.get(folding.table.name);
                signal.head > from.position
                    || known.is_some_and(|known| *known > from)
                    || self.projection.pair().live(signal.switches(self.projection.pair().name))
                        != folding.table
            });
            if tokio::time::timeout(POLL, news).await.is_err() {
                // Nothing was heard: it is looked up anew, in case somebody else has moved it.
                *at = None;
            }
        }
        Ok(())
    }

    /// Halted until the checkpoint moves by another hand, such as a node that knows the event, or a rebuild makes
    /// another table the live one.
    async fn halt(&self, folding: &Folding, after: Checkpoint, reason: String) {
        let name = self.projection.name();
        tracing::error!(projection = name, position = after.position.get(), %reason, "the projection has halted");
        self.report(Health::Halted(Halt { after: after.position, reason }), Some(after.position));
        while folding.table == self.live() {
            tokio::time::sleep(POLL).await;
            if self.look(folding).await.is_ok_and(|now| now != after) {
                break;
            }
        }
        tracing::info!(projection = name, "the projection goes on");
    }

    /// How far the table is, by the database's own word; and whether it is still the live one, which
    /// [`Projector::live`] knows from then on even if the switch itself was not heard of.
    async fn look(&self, folding: &Folding) -> Result<Checkpoint, StoreError> {
        self.rows.switches(self.projection.pair()).await?;
        folding.checkpoint().await
    }

    async fn give_way(&self, table: &Table) {
        let mut signals = self.events.signals();
        loop {
            let seen = self.events.signal().projected(table.name);
            let moved = signals.wait_for(|signal| signal.projected(table.name) != seen);
            if tokio::time::timeout(GIVE_WAY, moved).await.is_err() {
                return;
            }
        }
    }

    /// The table that is read now, as far as this process has heard.
    fn live(&self) -> &'static Table {
        let pair = self.projection.pair();
        pair.live(self.events.signal().switches(pair.name))
    }

    fn folding(&self, table: &'static Table) -> Folding {
        let Self { projection, events, rows, progress: _ } = self;
        Folding { projection: *projection, table, events: events.clone(), rows: Arc::clone(rows) }
    }

    fn report(&self, health: Health, position: Option<Position>) {
        self.progress.send_if_modified(|progress| {
            let next = Progress { health, position: position.unwrap_or(progress.position) };
            let news = *progress != next;
            *progress = next;
            news
        });
    }
}
