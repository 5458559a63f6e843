//! Tiles of the Merkle tree (c2sp.org/tlog-tiles), which make inclusion and consistency proofs cheap on a
//! long log. A tile has up to 256 hashes of one level; the root over a full tile is one hash of the tile
//! above it. Tiles are derived from the leaves after the append, by any process. Hashing and proof structure
//! belong to [`merkle`](crate::merkle).

mod extension;
mod proofs;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

use crate::error::StoreError;
use crate::event::Position;
use crate::merkle::{Hash, Node, node_hash};

pub use proofs::{ConsistencyProof, InclusionProof, ProofError, Proofs, RangeProof};

/// Number of hashes in a full tile.
pub const WIDTH: u64 = 1 << HEIGHT;
/// Bits of the tile index in [`TileId::to_number`]; enough for a log of 2^53 events.
const INDEX_BITS: u32 = 48;
/// Number of tree levels that a tile spans.
const HEIGHT: u32 = 8;

/// Level and index of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 for leaves; a hash at level n is the root over 256^n leaves.
    pub level: u32,
    /// The index within the level, from 0.
    pub index: u64,
}

impl fmt::Display for TileId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.level, self.index)
    }
}

/// Tiles and their hashes.
pub type Tiles = BTreeMap<TileId, Vec<Hash>>;

impl TileId {
    /// Encodes the tile as a number for storage, ordered by level and index.
    #[must_use]
    pub fn to_number(self) -> i64 {
        i64::from(self.level) << INDEX_BITS | i64::try_from(self.index).unwrap_or(i64::MAX)
    }

    /// Decodes [`TileId::to_number`].
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        let level = u32::try_from(number >> INDEX_BITS).ok()?;
        Some(Self { level, index: u64::try_from(number & ((1 << INDEX_BITS) - 1)).ok()? })
    }

    /// Number of hashes of the tile in a tree of `size` leaves.
    #[must_use]
    pub fn width_in(self, size: u64) -> u64 {
        let hashes = size.checked_shr(HEIGHT * self.level).unwrap_or(0);
        hashes.saturating_sub(self.index.saturating_mul(WIDTH)).min(WIDTH)
    }

    /// Locates a hash: its tile, and its offset in the tile.
    fn locate(level: u32, index: u64) -> (Self, usize) {
        let offset = usize::try_from(index % WIDTH).unwrap_or_default();
        (Self { level, index: index / WIDTH }, offset)
    }

    /// The tile from which the root of a subtree is computed.
    fn under(node: Node) -> Self {
        let (level, rest) = (node.level / HEIGHT, node.level % HEIGHT);
        Self::locate(level, node.index << rest).0
    }
}

/// The tiles of a log. Missing tiles are rebuilt from the leaves.
#[async_trait]
pub trait TileStore: Send + Sync {
    /// Reads at most `limit` leaf hashes of the events above a position, ascending, majority-committed.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn leaves(&self, after: Position, limit: usize) -> Result<Vec<Hash>, StoreError>;

    /// Number of leaves in the full tiles of level 0, which are written without a gap.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn tiled_leaves(&self) -> Result<u64, StoreError>;

    /// Reads these tiles; tiles that were never written are absent from the result.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn tiles(&self, wanted: &[TileId]) -> Result<Tiles, StoreError>;

    /// Replaces these tiles in one transaction (compare-and-set): writes nothing unless
    /// [`TileStore::tiled_leaves`] is still `from`.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails; the call can be repeated.
    async fn add_tiles(&self, from: u64, tiles: &Tiles) -> Result<(), StoreError>;
}

/// Concatenates the hashes of a tile, the form in which it is stored and served.
#[must_use]
pub fn to_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// Splits a stored tile into its hashes; `None` if the length is not a multiple of a hash.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks();
    rest.is_empty().then(|| hashes.to_vec())
}

/// Computes the root of a subtree from its tile; `None` if the tile is incomplete.
fn root_under(tiles: &Tiles, node: Node) -> Option<Hash> {
    let (level, rest) = (node.level / HEIGHT, node.level % HEIGHT);
    let (tile, from) = TileId::locate(level, node.index << rest);
    subtree_root(tiles.get(&tile)?.get(from..from + (1 << rest))?)
}

/// Computes the root over hashes whose number is a power of two.
fn subtree_root(hashes: &[Hash]) -> Option<Hash> {
    let mut hashes = hashes.to_vec();
    while hashes.len() > 1 {
        hashes = hashes.as_chunks().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    hashes.first().copied()
}
