//! The head of the log: its last position and the state of the Merkle tree there.
//!
//! Signing the head belongs in [`checkpoint`](crate::checkpoint).

use jiff::Timestamp;

use crate::event::Position;
use crate::merkle::{Frontier, Hash};

/// The head of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The position of the last event; [`Position::START`] of an empty log.
    pub position: Position,
    /// When the last event was committed; the Unix epoch of an empty log.
    pub at: Timestamp,
    /// The Merkle root over all events (tree head).
    pub root: Hash,
    /// The right edge of the Merkle tree.
    pub frontier: Frontier,
    /// The signed checkpoint; empty only for an empty log.
    pub note: String,
}

impl Default for Head {
    fn default() -> Self {
        let frontier = Frontier::default();
        let root = frontier.root();
        Self { position: Position::START, at: Timestamp::UNIX_EPOCH, root, frontier, note: String::new() }
    }
}
