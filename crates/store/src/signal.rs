//! Wake-ups: that something moved, never what. Whoever is woken reads from where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::StoreError;
use crate::event::Position;
use crate::rows::Checkpoint;
use crate::versions::{Stage, Version, Versions};

/// How far the log and the projections are, as far as this process has heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// The head of the log.
    pub head: Position,
    /// The checkpoint of each projection table.
    pub checkpoints: BTreeMap<Arc<str>, Checkpoint>,
    /// The versions of each read model.
    pub versions: BTreeMap<Arc<str>, Arc<Versions>>,
    /// Tables, or collections, that this process relies on and that somebody has dropped.
    pub gone: BTreeSet<Arc<str>>,
    lags: BTreeMap<Arc<str>, Lag>,
}

/// A table that is behind the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lag {
    /// Where the head was when this was noticed.
    target: Position,
    /// When that was; `None` if the table was behind when it was first heard of.
    since: Option<Instant>,
}

impl Signal {
    /// How far a projection table is; [`Position::START`] if nothing was heard of it.
    #[must_use]
    pub fn projected(&self, table: &str) -> Position {
        self.checkpoints.get(table).map(|checkpoint| checkpoint.position).unwrap_or_default()
    }

    /// The number of the version of a read model that is read; the first if nothing was heard of it.
    #[must_use]
    pub fn live(&self, projection: &str) -> u64 {
        self.versions.get(projection).map_or(1, |versions| versions.live)
    }

    /// Whether an event has been waiting for longer than `bound` to get into the table.
    #[must_use]
    pub fn lags(&self, table: &str, bound: Duration) -> bool {
        self.lags.get(table).is_some_and(|lag| lag.since.is_none_or(|since| since.elapsed() > bound))
    }

    /// Whether anything was known of the table.
    fn forget(&mut self, table: &str) -> bool {
        self.lags.remove(table);
        let known = self.checkpoints.remove(table).is_some();
        self.gone.remove(table) || known
    }

    /// Notes which tables are behind from now on, and which no longer.
    fn note_lags(&mut self) {
        for (table, checkpoint) in &self.checkpoints {
            if checkpoint.position >= self.head {
                self.lags.remove(table);
            } else if self.lags.get(table).is_none_or(|lag| checkpoint.position >= lag.target) {
                let lag = Lag { target: self.head, since: Some(Instant::now()) };
                self.lags.insert(Arc::clone(table), lag);
            }
        }
    }
}

/// Where a backend posts what it hears. News that comes late and is older than what is known changes nothing.
#[derive(Debug)]
pub struct SignalBoard {
    signal: watch::Sender<Signal>,
    heard: Mutex<Option<Instant>>,
    relied_on: Mutex<BTreeSet<Arc<str>>>,
}

impl Default for SignalBoard {
    fn default() -> Self {
        let signal = watch::Sender::new(Signal::default());
        Self { signal, heard: Mutex::default(), relied_on: Mutex::default() }
    }
}

impl SignalBoard {
    /// Follows the board.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// The log's head is at least here.
    pub fn raise_head(&self, head: Position) {
        self.signal.send_if_modified(|signal| {
            let news = head > signal.head;
            if news {
                signal.head = head;
                signal.note_lags();
            }
            news
        });
    }

    /// A projection table is at least here.
    pub fn raise_checkpoint(&self, table: &str, checkpoint: Checkpoint) {
        self.signal.send_if_modified(|signal| {
            let news = signal.checkpoints.get(table).is_none_or(|known| checkpoint > *known);
            if checkpoint.is_removed() {
                return signal.forget(table);
            }
            if news {
                let before = signal.checkpoints.insert(table.into(), checkpoint);
                signal.note_lags();
                if let Some(lag) = signal.lags.get_mut(table).filter(|_| before.is_none()) {
                    lag.since = None;
                }
                // Whoever empties a table to fill it anew has made sure that it is there.
                if before.is_some_and(|before| before.rebuilds < checkpoint.rebuilds) {
                    signal.gone.remove(table);
                }
            }
            news
        });
    }

    /// Says that this process has found, or made, a table or collection, and relies on it from now on.
    pub fn rely_on(&self, name: &str) {
        lock(&self.relied_on).insert(name.into());
        self.signal.send_if_modified(|signal| signal.gone.remove(name));
    }

    /// The versions of a read model are these, or later ones. The table that is read is relied on from here on; those
    /// that are to be dropped, or are no longer kept, may go.
    pub fn raise_versions(&self, projection: &str, versions: Versions) {
        // Held throughout: older news cannot get in between.
        let mut relied_on = lock(&self.relied_on);
        self.signal.send_if_modified(|signal| {
            let known = signal.versions.get(projection);
            if known.is_some_and(|known| versions.revision <= known.revision) {
                return false;
            }
            let before = known.map(|known| known.kept.clone()).unwrap_or_default();
            let wanted = |number| versions.get(number).is_some_and(|it| it.stage != Stage::Dropping);
            for Version { number, .. } in before.iter().chain(&versions.kept) {
                if !wanted(*number) {
                    let table = format!("{projection}_{number}");
                    relied_on.remove(&*table);
                    signal.forget(&table);
                }
            }
            relied_on.insert(format!("{projection}_{}", versions.live).into());
            signal.versions.insert(projection.into(), Arc::new(versions));
            true
        });
    }

    /// A table may go from here on, and nobody asks how far it is.
    pub fn forget(&self, name: &str) {
        let mut relied_on = lock(&self.relied_on);
        relied_on.remove(name);
        self.signal.send_if_modified(|signal| signal.forget(name));
    }

    /// What this process relies on.
    #[must_use]
    pub fn relied_on(&self) -> BTreeSet<Arc<str>> {
        lock(&self.relied_on).clone()
    }

    /// Whether this process relies on that.
    #[must_use]
    pub fn relies_on(&self, name: &str) -> bool {
        lock(&self.relied_on).contains(name)
    }

    /// That is gone. What nobody relies on may go.
    pub fn lose(&self, name: &str) {
        let relied_on = lock(&self.relied_on);
        let Some(name) = relied_on.get(name) else { return };
        if self.signal.send_if_modified(|signal| signal.gone.insert(Arc::clone(name))) {
            tracing::error!("{}", StoreError::gone(name));
        }
    }

    /// The database has answered: whatever was committed until now is known, or will be told.
    pub fn hear(&self) {
        *lock(&self.heard) = Some(Instant::now());
    }

    /// For how long the database has not been heard; `None` if nobody has begun to listen.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        lock(&self.heard).map(|heard| heard.elapsed())
    }
}

/// None of these is held while anything can fail, so what is in them is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "nothing else happens meanwhile")]
mod tests {
    use super::*;

    #[test]
    fn late_news_never_moves_the_board_back_but_a_rebuild_does() {
        let board = SignalBoard::default();
        let at = |rebuilds, position| Checkpoint {
            position: Position::new(position),
            ..Checkpoint::start(rebuilds)
        };
        board.raise_head(Position::new(7));
        board.raise_head(Position::new(5));
        board.raise_checkpoint("users_1", at(0, 7));
        board.raise_checkpoint("users_1", at(0, 6));
        let seen = board.subscribe().borrow().clone();
        assert_eq!((seen.head, seen.projected("users_1")), (Position::new(7), Position::new(7)));
        board.raise_checkpoint("users_1", at(1, 0));
        assert_eq!(board.subscribe().borrow().projected("users_1"), Position::START);
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_lags_once_an_event_has_waited_too_long_for_it() {
        const BOUND: Duration = Duration::from_secs(1);
        let board = SignalBoard::default();
        let lags = || board.subscribe().borrow().lags("users_1", BOUND);
        let at = |position| Checkpoint { position: Position::new(position), ..Checkpoint::default() };
        board.raise_checkpoint("users_1", at(0));
        board.raise_head(Position::new(1));
        assert!(!lags(), "it has only just fallen behind");
        tokio::time::advance(BOUND * 2).await;
        assert!(lags());
        board.raise_head(Position::new(2));
        assert!(lags(), "more to do does not make it younger");
        board.raise_checkpoint("users_1", at(1));
        assert!(!lags(), "it moves");
        board.raise_checkpoint("users_1", at(2));
        tokio::time::advance(BOUND * 2).await;
        assert!(!lags(), "it has caught up");
    }

    #[test]
    fn what_is_relied_on_and_dropped_is_gone_until_it_is_made_anew() {
        let board = SignalBoard::default();
        let gone = || board.subscribe().borrow().gone.clone();
        let at = |rebuilds| Checkpoint { position: Position::new(7), ..Checkpoint::start(rebuilds) };
        board.rely_on("users_1");
        board.raise_checkpoint("users_1", at(0));
        for name in ["users_0", "users_1", "users_1"] {
            board.lose(name);
        }
        assert_eq!(gone(), [Arc::from("users_1")].into());
        board.raise_checkpoint("users_1", Checkpoint { position: Position::new(8), ..Checkpoint::default() });
        assert_eq!(gone(), [Arc::from("users_1")].into(), "to go on is not to begin anew");
        board.raise_checkpoint("users_1", at(1));
        assert!(gone().is_empty());
        board.lose("users_1");
        board.rely_on("users_1");
        assert!(gone().is_empty());
    }

    #[test]
    fn a_version_that_is_no_longer_kept_may_go_whatever_comes_late() {
        let board = SignalBoard::default();
        let version = |number, stage| Version {
            number,
            fold: 1,
            stage,
            by: "system".to_owned(),
            since: jiff::Timestamp::UNIX_EPOCH,
            differed: None,
        };
        let at = |revision, live, kept: &[(u64, Stage)]| Versions {
            revision,
            live,
            last: 3,
            declined: 0,
            kept: kept.iter().map(|(number, stage)| version(*number, *stage)).collect(),
        };
        let relied_on = || board.relied_on().iter().map(ToString::to_string).collect::<Vec<_>>();
        let first = at(1, 1, &[(1, Stage::Ready)]);
        board.raise_versions("users", first.clone());
        board.raise_checkpoint("users_1", Checkpoint::start(0));
        assert_eq!(relied_on(), ["users_1"]);
        // That version 1 is to be dropped was never heard, only that it is no longer there.
        board.raise_versions("users", at(5, 2, &[(2, Stage::Ready)]));
        board.raise_versions("users", first);
        assert_eq!(relied_on(), ["users_2"]);
        board.lose("users_1");
        let seen = board.subscribe().borrow().clone();
        assert!(seen.gone.is_empty() && !seen.checkpoints.contains_key("users_1"), "{seen:?}");
        assert_eq!(seen.live("users"), 2);
        board.raise_versions("users", at(6, 3, &[(2, Stage::Dropping), (3, Stage::Ready)]));
        assert_eq!(relied_on(), ["users_3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_when_somebody_began_to_listen() {
        let board = SignalBoard::default();
        assert_eq!(board.silence(), None);
        board.hear();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(board.silence(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_table_that_was_behind_when_first_heard_of_lags_at_once() {
        let board = SignalBoard::default();
        board.raise_head(Position::new(5));
        board.raise_checkpoint("users_1", Checkpoint { position: Position::new(3), ..Checkpoint::default() });
        assert!(board.subscribe().borrow().lags("users_1", Duration::from_secs(1)));
    }
}
