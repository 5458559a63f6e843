//! Builds missing tiles from the leaves of the log.

use std::collections::BTreeSet;

use super::{HEIGHT, TileId, TileStore, Tiles, WIDTH, subtree_root};
use crate::error::{Corruption, StoreError};
use crate::event::Position;
use crate::merkle::Hash;

/// Number of leaves whose tiles are written in one transaction.
const LEAVES_PER_TRANSACTION: u64 = 64 * WIDTH;

/// Writes the missing full tiles of leaves for a log of `size` events, and the tiles above them.
pub(super) async fn build_missing(tiles: &dyn TileStore, size: u64) -> Result<(), StoreError> {
    let full = size - size % WIDTH;
    loop {
        let from = tiles.tiled_leaves().await?;
        if from >= full {
            return Ok(());
        }
        let to = full.min(from + LEAVES_PER_TRANSACTION);
        let leaves = leaves(tiles, from, to).await?;
        let open: Vec<_> = open_tiles(from).collect();
        let open = tiles.tiles(&open).await?;
        // If another process was first, it has written the same tiles, and `open` may already include them.
        if tiles.tiled_leaves().await? == from {
            tiles.add_tiles(from, &added(from, &leaves, open)?).await?;
        }
    }
}

/// Reads the leaves with indexes `from..to`.
pub(super) async fn leaves(tiles: &dyn TileStore, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
    let wanted = usize::try_from(to - from).unwrap_or(usize::MAX);
    let leaves = tiles.leaves(Position::new(from), wanted).await?;
    if leaves.len() == wanted {
        return Ok(leaves);
    }
    let (first, last) = (Position::new(from).next(), Position::new(to));
    let missing = u64::try_from(wanted.saturating_sub(leaves.len())).unwrap_or(u64::MAX);
    Err(Corruption::MissingLeaves { first, last, missing }.into())
}

/// The partially filled tiles above level 0 when `leaves` leaves are in tiles.
fn open_tiles(leaves: u64) -> impl Iterator<Item = TileId> {
    let hashes = move |level: u32| leaves.checked_shr(HEIGHT * level).unwrap_or(0);
    let levels = (1..).take_while(move |level| hashes(*level) > 0);
    let last = levels.map(move |level| TileId { level, index: hashes(level) / WIDTH });
    last.filter(move |tile| tile.width_in(leaves) > 0)
}

/// Computes the tiles that the next leaves add or change.
fn added(from: u64, leaves: &[Hash], open: Tiles) -> Result<Tiles, StoreError> {
    for tile in open_tiles(from) {
        let (found, expected) = (open.get(&tile).map_or(0, Vec::len), tile.width_in(from));
        let found = u64::try_from(found).unwrap_or(u64::MAX);
        if found != expected {
            return Err(Corruption::TileSize { tile: tile.to_string(), expected, found }.into());
        }
    }
    let (mut tiles, mut changed) = (open, BTreeSet::new());
    for (leaf, index) in leaves.iter().zip(from..) {
        // A tile that becomes full adds its root to the level above.
        let (mut next, mut level, mut index) = (Some(*leaf), 0, index);
        while let Some(hash) = next {
            let (tile, _) = TileId::locate(level, index);
            let hashes = tiles.entry(tile).or_default();
            hashes.push(hash);
            changed.insert(tile);
            next = if (index + 1).is_multiple_of(WIDTH) { subtree_root(hashes) } else { None };
            (level, index) = (level + 1, tile.index);
        }
    }
    tiles.retain(|tile, _| changed.contains(tile));
    Ok(tiles)
}
