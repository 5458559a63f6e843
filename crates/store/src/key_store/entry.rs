//! The entry of a stream in the key store: its wrapped data key (DEK), or the tombstone left by
//! crypto-shredding.

use super::ClaimHash;
use crate::event::StreamId;

/// The entry of a stream in the key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyEntry {
    /// The stream's wrapped data key.
    Key(Vec<u8>),
    /// The data key was destroyed. The entry stays as a tombstone, which distinguishes an erased key from a
    /// lost one.
    Erased,
}

/// A stream, its key entry and the claims that it owns.
pub type StreamKeyEntry = (StreamId, KeyEntry, Vec<ClaimHash>);
