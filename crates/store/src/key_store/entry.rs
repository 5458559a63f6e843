//! What the key store holds of a stream: the encrypted data key, or the tombstone of crypto-shredding.

use super::ClaimHash;
use crate::event::StreamId;

/// What the vault holds of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyEntry {
    /// The stream's wrapped data key.
    Key(Vec<u8>),
    /// The key was destroyed. The entry stays as a tombstone, so that "erased" is never mistaken for "lost".
    Erased,
}

/// A stream, what the vault holds of it, and its claims.
pub type StreamKeyEntry = (StreamId, KeyEntry, Vec<ClaimHash>);
