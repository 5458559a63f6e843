//! Wake-ups: that something moved, never what. Whoever is woken reads from where it stopped.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::event::Position;
use crate::rows::Checkpoint;

/// How far the log and the projections are, as far as this process has heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// The head of the log.
    pub head: Position,
    /// The checkpoint of each projection table.
    pub checkpoints: BTreeMap<String, Checkpoint>,
}

impl Signal {
    /// How far a projection table is; [`Position::START`] if nothing was heard of it.
    #[must_use]
    pub fn projected(&self, table: &str) -> Position {
        self.checkpoints.get(table).map(|checkpoint| checkpoint.position).unwrap_or_default()
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
            }
            news
        });
    }

    /// A projection table is at least here.
    pub fn raise_checkpoint(&self, table: &str, checkpoint: Checkpoint) {
        self.0.send_if_modified(|signal| {
            let news = signal.checkpoints.get(table).is_none_or(|known| checkpoint > *known);
            if news {
                signal.checkpoints.insert(table.to_owned(), checkpoint);
            }
            news
        });
    }
}

#[cfg(test)]
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
}
