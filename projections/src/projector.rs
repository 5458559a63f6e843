//! The projector: reads the log from the checkpoint, folds, and writes rows and checkpoint in one transaction that
//! only succeeds while the checkpoint is where it was read. That comparison is what keeps rows right, with however
//! many projectors at work. It never skips: on an event it cannot take in, it halts and says so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use store::{
    ApplyError, Change, Checkpoint, EventQuery, EventStore, Position, ReadModels, Recorded, Row, StoreError,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::projection::{Poison, Projection};

/// Events read and rows written at once.
const BATCH: usize = 500;
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

/// Why a batch was not projected.
enum Stop {
    Overtaken,
    Failed(StoreError),
    Poisoned { after: Checkpoint, reason: String },
}

/// Rows by key; `None` is a row to remove.
type Folded = HashMap<String, Option<Row>>;

/// What trying again may mend is a failure; what it cannot, such as a gap in the log, needs a person.
fn stop(after: Checkpoint, error: StoreError) -> Stop {
    if error.is_transient() {
        Stop::Failed(error)
    } else {
        Stop::Poisoned { after, reason: error.to_string() }
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

    /// Projects what there is up to the present head, then returns how far it came.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] on an event that cannot be projected, with its position; otherwise whatever the
    /// database says.
    pub async fn catch_up(
        &self,
        mut each_batch: impl FnMut(Position, Position),
    ) -> Result<Position, StoreError> {
        let head = self.events.head().await?.position;
        let mut at = self.checkpoint().await?;
        while at.position < head {
            match self.project_batch(at).await {
                Ok(moved) => at = moved,
                Err(Stop::Overtaken) => at = self.checkpoint().await?,
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Poisoned { reason, .. }) => return Err(StoreError::corrupt(reason)),
            }
            each_batch(at.position, head);
        }
        Ok(at.position)
    }

    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut at = None;
        loop {
            match self.step(&mut at).await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(Stop::Overtaken) => self.give_way().await,
                Err(Stop::Failed(error)) => {
                    tracing::warn!(projection = self.projection.name(), %error, "projecting again in {pause:?}");
                    self.report(Health::Failing(error.to_string()), None);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(Stop::Poisoned { after, reason }) => self.halt(after, reason).await,
            }
            at = None;
        }
    }

    /// Projects one batch, or waits for something to project.
    async fn step(&self, at: &mut Option<Checkpoint>) -> Result<(), Stop> {
        let from = match at {
            Some(known) => *known,
            None => self.checkpoint().await.map_err(Stop::Failed)?,
        };
        // Whatever the signals say from here on is news: subscribing before reading leaves no gap in between.
        let mut signals = self.events.signals();
        let moved = self.project_batch(from).await?;
        self.report(Health::Running, Some(moved.position));
        *at = Some(moved);
        if moved == from {
            let table = self.projection.table().name;
            let news = signals.wait_for(|signal| {
                let known = signal.checkpoints.get(table);
                signal.head > from.position || known.is_some_and(|known| *known > from)
            });
            if tokio::time::timeout(POLL, news).await.is_err() {
                // Nothing was heard: the checkpoint is read anew, in case somebody else has moved it.
                *at = None;
            }
        }
        Ok(())
    }

    /// Projects the events after `from`, at most one batch; gives the checkpoint after it.
    async fn project_batch(&self, from: Checkpoint) -> Result<Checkpoint, Stop> {
        let query = EventQuery { after: from.position, limit: BATCH, ..EventQuery::default() };
        let events = self.events.read(&query).await.map_err(|error| stop(from, error))?;
        if events.is_empty() {
            return Ok(from);
        }
        let (folded, poison) = self.fold(&events).await.map_err(|error| stop(from, error))?;
        // What comes before a poison event is good and is kept.
        let good = poison.as_ref().map_or(events.len(), |(index, _)| *index);
        let moved = match events.get(..good).and_then(<[Recorded]>::last) {
            Some(last) => {
                let to = last.envelope.position;
                self.apply(from, to, folded).await?;
                Checkpoint { position: to, ..from }
            }
            None => from,
        };
        match poison {
            None => Ok(moved),
            Some((_, poison)) => Err(Stop::Poisoned { after: moved, reason: poison.to_string() }),
        }
    }

    async fn apply(&self, from: Checkpoint, to: Position, folded: Folded) -> Result<(), Stop> {
        let changes = folded.into_iter().map(|(key, row)| Change { key, row }).collect();
        self.rows.apply(self.projection.table(), from, to, changes).await.map_err(|error| match error {
            ApplyError::Overtaken => Stop::Overtaken,
            ApplyError::Store(error) => stop(from, error),
        })
    }

    /// The rows after these events, up to the first that cannot be taken in.
    async fn fold(&self, events: &[Recorded]) -> Result<(Folded, Option<(usize, Poison)>), StoreError> {
        let mut keys: Vec<_> = events.iter().filter_map(|event| self.projection.key(event)).collect();
        keys.sort_unstable();
        keys.dedup();
        let before = self.rows.rows(self.projection.table(), &keys).await?;
        let mut rows: HashMap<_, _> = before.into_iter().map(|(key, row)| (key, Some(row))).collect();
        for (index, event) in events.iter().enumerate() {
            let Some(key) = self.projection.key(event) else { continue };
            let row = rows.get(&key).cloned().flatten();
            match self.projection.fold(row, event) {
                Ok(row) => rows.insert(key, row),
                Err(poison) => return Ok((rows, Some((index, poison)))),
            };
        }
        Ok((rows, None))
    }

    /// Halted until the checkpoint moves by another hand: a rebuild, or a node that knows the event.
    async fn halt(&self, after: Checkpoint, reason: String) {
        let name = self.projection.name();
        tracing::error!(projection = name, position = after.position.get(), %reason, "the projection has halted");
        self.report(Health::Halted(Halt { after: after.position, reason }), Some(after.position));
        loop {
            tokio::time::sleep(POLL).await;
            match self.checkpoint().await {
                Ok(now) if now.position != after.position || now.rebuilds > after.rebuilds => break,
                Ok(_) | Err(_) => {}
            }
        }
        tracing::info!(projection = name, "the checkpoint was moved: the projection goes on");
    }

    async fn give_way(&self) {
        let table = self.projection.table().name;
        let mut signals = self.events.signals();
        loop {
            let seen = signals.borrow().projected(table);
            let moved = signals.wait_for(|signal| signal.projected(table) != seen);
            if tokio::time::timeout(GIVE_WAY, moved).await.is_err() {
                return;
            }
        }
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.rows.checkpoint(self.projection.table()).await
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
