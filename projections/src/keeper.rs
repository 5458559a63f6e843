//! Keeping one version up to date: batch after batch, then event by event. Whoever keeps it need not be alone: rows only
//! move from where the checkpoint is. It never skips: on an event it cannot take in, it halts and says so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use store::{Checkpoint, EventQuery, StoreError};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::finisher::Finisher;
use crate::folding::{Batch, Folding, Stop};
use crate::pace::{Pace, Rate};
use crate::report::{Health, VersionReport};

/// A wake-up that got lost costs no more than this.
const POLL: Duration = Duration::from_secs(1);
/// Who was overtaken lets the other one work until nothing has moved for this long.
const GIVE_WAY: Duration = Duration::from_millis(200);
/// The pause after the first failure of the database; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where a keeper says how it is doing.
pub(crate) type Shown = Arc<Mutex<VersionReport>>;

/// Keeps one version up to date, for as long as it runs.
pub(crate) struct Keeper {
    folding: Folding,
    shown: Shown,
    pace: Pace,
    rate: Rate,
    /// What is read already, while the batch before it is written.
    ahead: Option<Ahead>,
}

/// A batch that is being read, and from where.
struct Ahead {
    from: Checkpoint,
    reading: JoinHandle<Result<Batch, Stop>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// What became of one step.
enum Step {
    /// The rows moved.
    Moved(Checkpoint),
    /// There is nothing to do.
    Current(Checkpoint),
}

impl Keeper {
    pub(crate) fn new(folding: Folding, shown: Shown) -> Self {
        Self { folding, shown, pace: Pace::default(), rate: Rate::default(), ahead: None }
    }

    /// Works without end. Whenever everything there is has been taken in, a version that is being built is finished.
    pub(crate) async fn run(mut self, finisher: Finisher) {
        let mut pause = FIRST_PAUSE;
        let mut at = None;
        loop {
            let stopped = match self.step(at).await {
                Ok(Step::Moved(moved)) => {
                    (at, pause) = (Some(moved), FIRST_PAUSE);
                    self.show(Health::Running, Some(moved));
                    continue;
                }
                Ok(Step::Current(reached)) => {
                    self.note_oldest(None);
                    self.show(Health::Running, Some(reached));
                    match finisher.finish(&self.folding, reached).await {
                        Ok(reached) => {
                            (at, pause) = (self.news(reached).await, FIRST_PAUSE);
                            continue;
                        }
                        Err(stopped) => stopped,
                    }
                }
                Err(stopped) => stopped,
            };
            (at, self.ahead) = (None, None);
            match stopped {
                Stop::Overtaken => self.give_way().await,
                Stop::Failed(error) => {
                    tracing::warn!(table = &*self.folding.table.name, %error, "projecting again in {pause:?}");
                    self.show(Health::Failing(error.to_string()), None);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Stop::Locked { after, error } => self.halt(after, error.to_string()).await,
                Stop::Poisoned { after, reason } => self.halt(after, reason).await,
            }
        }
    }

    /// Projects one batch, if there is one, and has the next one read meanwhile.
    async fn step(&mut self, at: Option<Checkpoint>) -> Result<Step, Stop> {
        let from = match at {
            Some(known) => known,
            None => self.folding.checkpoint().await.map_err(Stop::Failed)?,
        };
        let batch = match self.ahead.take() {
            Some(mut ahead) if ahead.from == from => {
                let read = (&mut ahead.reading).await;
                read.map_err(|stopped| Stop::Failed(StoreError::unavailable("reading events", stopped)))??
            }
            _ => read(&self.folding, from, self.limit()).await?,
        };
        if batch.to == from.position {
            return Ok(Step::Current(from));
        }
        self.note_oldest(batch.oldest);
        let events = batch.to.get() - from.position.get();
        let full = events >= self.pace.size();
        let begun = Instant::now();
        let reading = full.then(|| self.read_ahead(Checkpoint { position: batch.to, ..from }));
        let moved = self.folding.project(from, batch).await?;
        self.pace.took(full, begun.elapsed());
        self.rate.add(events);
        self.ahead = reading.map(|reading| Ahead { from: moved, reading });
        Ok(Step::Moved(moved))
    }

    fn read_ahead(&self, from: Checkpoint) -> JoinHandle<Result<Batch, Stop>> {
        let (folding, limit) = (self.folding.clone(), self.limit());
        tokio::spawn(async move { read(&folding, from, limit).await })
    }

    fn limit(&self) -> usize {
        usize::try_from(self.pace.size()).unwrap_or(usize::MAX)
    }

    /// Waits for something to project; gives where the table is, if that is still known.
    async fn news(&self, from: Checkpoint) -> Option<Checkpoint> {
        let mut signals = self.folding.sources.events.signals();
        let news = signals.wait_for(|signal| {
            let known = signal.checkpoints.get(&self.folding.table.name);
            signal.head > from.position || known.is_some_and(|known| *known > from)
        });
        // Nothing was heard: it is looked up anew, in case somebody else has moved it.
        tokio::time::timeout(POLL, news).await.is_ok().then_some(from)
    }

    /// Halted until the checkpoint moves by another hand, such as a node that knows the event, or has its master key; or until it is time to
    /// look whether it can be passed now.
    async fn halt(&self, after: Checkpoint, reason: String) {
        let table = &*self.folding.table.name;
        if self.show(Health::Halted(reason.clone()), Some(after)) {
            tracing::error!(table, position = after.position.get(), %reason, "the projection has halted");
        }
        tokio::time::sleep(POLL).await;
    }

    async fn give_way(&self) {
        let events = &self.folding.sources.events;
        let mut signals = events.signals();
        loop {
            let seen = events.signal().projected(&self.folding.table.name);
            let moved = signals.wait_for(|signal| signal.projected(&self.folding.table.name) != seen);
            if tokio::time::timeout(GIVE_WAY, moved).await.is_err() {
                return;
            }
        }
    }

    fn note_oldest(&self, oldest: Option<Timestamp>) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).oldest = oldest;
    }

    /// Says how it is doing; whether that is news.
    fn show(&self, health: Health, at: Option<Checkpoint>) -> bool {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let news = shown.health != health;
        shown.health = health;
        shown.position = at.map_or(shown.position, |at| at.position.get());
        shown.rate = self.rate.per_second();
        news
    }
}

async fn read(folding: &Folding, from: Checkpoint, limit: usize) -> Result<Batch, Stop> {
    let head = folding.sources.events.signal().head;
    let query = EventQuery { after: from.position, limit, ..EventQuery::default() };
    folding.read(from, &query, head).await
}
