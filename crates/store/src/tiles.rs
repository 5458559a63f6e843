//! The tree in tiles (c2sp.org/tlog-tiles), so that a proof over a long log takes a handful of reads. A tile holds up to 256
//! hashes of one level, and the root over a full one is one hash of the tile above it. Tiles follow from the leaves, so
//! they are made behind the append, by whoever comes first.

mod extension;
mod proofs;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

use crate::error::StoreError;
use crate::event::Position;
use crate::merkle::{Hash, Node, node_hash};

pub use proofs::{ConsistencyProof, InclusionProof, ProofError, Proofs, RangeProof};

/// How many hashes a full tile holds.
pub const WIDTH: u64 = 1 << HEIGHT;
/// More tiles of a level than a log of 2^53 events has.
const INDEX_BITS: u32 = 48;
/// How many levels of the tree a tile spans.
const HEIGHT: u32 = 8;

/// A place in the grid of tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 for leaves; a hash of level n stands for 256 to the power of n leaves.
    pub level: u32,
    /// Its place within the level, from 0.
    pub index: u64,
}

impl fmt::Display for TileId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.level, self.index)
    }
}

/// Tiles with what they hold.
pub type Tiles = BTreeMap<TileId, Vec<Hash>>;

impl TileId {
    /// The tile as one number, by which databases keep it: those of a level follow each other.
    #[must_use]
    pub fn to_number(self) -> i64 {
        i64::from(self.level) << INDEX_BITS | i64::try_from(self.index).unwrap_or(i64::MAX)
    }

    /// The tile of that number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        let level = u32::try_from(number >> INDEX_BITS).ok()?;
        Some(Self { level, index: u64::try_from(number & ((1 << INDEX_BITS) - 1)).ok()? })
    }

    /// How many hashes the tile holds in a tree of that size.
    #[must_use]
    pub fn width_in(self, size: u64) -> u64 {
        let hashes = size.checked_shr(HEIGHT * self.level).unwrap_or(0);
        hashes.saturating_sub(self.index.saturating_mul(WIDTH)).min(WIDTH)
    }

    /// The tile that holds a hash, by its level and its place within that level, and where in the tile it is.
    fn holding(level: u32, place: u64) -> (Self, usize) {
        let within = usize::try_from(place % WIDTH).unwrap_or_default();
        (Self { level, index: place / WIDTH }, within)
    }

    /// The tile from which the root of a subtree follows.
    fn under(node: Node) -> Self {
        let (level, rest) = (node.level / HEIGHT, node.level % HEIGHT);
        Self::holding(level, node.index << rest).0
    }
}

/// A database that holds the tiles of its log. Whatever of them is missing is made anew from the leaves.
#[async_trait]
pub trait TileStore: Send + Sync {
    /// The leaf hashes of the events above a position, ascending, at most `limit`, as a majority knows them.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn leaves(&self, after: Position, limit: usize) -> Result<Vec<Hash>, StoreError>;

    /// How many leaves are in tiles: those of the full tiles of level 0, which are written without a gap.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be read.
    async fn tiled_leaves(&self) -> Result<u64, StoreError>;

    /// These tiles; one that was never written is left out.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn tiles(&self, wanted: &[TileId]) -> Result<Tiles, StoreError>;

    /// Replaces these tiles in one transaction (compare-and-set): writes nothing unless
    /// [`TileStore::tiled_leaves`] is still `from`.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done; it can be done again.
    async fn add_tiles(&self, from: u64, tiles: &Tiles) -> Result<(), StoreError>;
}

/// The hashes of a tile as they are stored and served: one after another.
#[must_use]
pub fn to_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hashes of a stored tile; none if these bytes are no such thing.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks();
    rest.is_empty().then(|| hashes.to_vec())
}

/// The root of a subtree, from the tile under it; none if the tile does not hold all of it.
fn root_under(tiles: &Tiles, node: Node) -> Option<Hash> {
    let (level, rest) = (node.level / HEIGHT, node.level % HEIGHT);
    let (tile, from) = TileId::holding(level, node.index << rest);
    folded(tiles.get(&tile)?.get(from..from + (1 << rest))?)
}

/// The root over hashes, of which there are a power of two.
fn folded(hashes: &[Hash]) -> Option<Hash> {
    let mut hashes = hashes.to_vec();
    while hashes.len() > 1 {
        hashes = hashes.as_chunks().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    hashes.first().copied()
}
