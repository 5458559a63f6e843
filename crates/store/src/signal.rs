//! Wake-ups: that something moved, never what. Whoever is woken reads from where it stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::event::Position;
use crate::rows::Checkpoint;

/// How far the log and the projections are, as far as this process has heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// The head of the log.
    pub head: Position,
    /// The checkpoint of each projection table, and, under the name of each pair, how often it was switched.
    pub checkpoints: BTreeMap<Arc<str>, Checkpoint>,
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

    /// How often a pair of tables was switched; zero if nothing was heard of it.
    #[must_use]
    pub fn switches(&self, pair: &str) -> u64 {
        self.checkpoints.get(pair).map(|checkpoint| checkpoint.rebuilds).unwrap_or_default()
    }

    /// Whether an event has been waiting for longer than `bound` to get into the table.
    #[must_use]
    pub fn lags(&self, table: &str, bound: Duration) -> bool {
        self.lags.get(table).is_some_and(|lag| lag.since.is_none_or(|since| since.elapsed() > bound))
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
pub struct SignalBoard(watch::Sender<Signal>);

impl Default for SignalBoard {
    fn default() -> Self {
        Self(watch::Sender::new(Signal::default()))
    }
}

impl SignalBoard {
    /// Follows the board.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Signal> {
        self.0.subscribe()
    }

    /// The log's head is at least here.
    pub fn raise_head(&self, head: Position) {
        self.0.send_if_modified(|signal| {
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
        self.0.send_if_modified(|signal| {
            let news = signal.checkpoints.get(table).is_none_or(|known| checkpoint > *known);
            if news {
                let first = signal.checkpoints.insert(table.into(), checkpoint).is_none();
                signal.note_lags();
                if let Some(lag) = signal.lags.get_mut(table).filter(|_| first) {
                    lag.since = None;
                }
            }
            news
        });
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "nothing else happens meanwhile")]
mod tests {
    use super::*;

    #[test]
    fn late_news_never_moves_the_board_back_but_a_rebuild_does() {
        let board = SignalBoard::default();
        let at = |rebuilds, position| Checkpoint { rebuilds, position: Position::new(position) };
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
        let at = |position| Checkpoint { rebuilds: 0, position: Position::new(position) };
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
    fn a_table_that_was_behind_when_first_heard_of_lags_at_once() {
        let board = SignalBoard::default();
        board.raise_head(Position::new(5));
        board.raise_checkpoint("users_1", Checkpoint { rebuilds: 0, position: Position::new(3) });
        assert!(board.subscribe().borrow().lags("users_1", Duration::from_secs(1)));
    }
}
