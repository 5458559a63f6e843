//! Making tiles of leaves.

use std::collections::BTreeSet;

use super::{HEIGHT, TileId, TileStore, Tiles, WIDTH, folded};
use crate::error::{Corruption, StoreError};
use crate::event::Position;
use crate::merkle::Hash;

/// Leaves whose tiles are written in one transaction.
const AT_ONCE: u64 = 64 * WIDTH;

/// Makes every tile of leaves that a log of this size fills, with what follows from them in the levels above.
pub(super) async fn grow(tiles: &dyn TileStore, size: u64) -> Result<(), StoreError> {
    let full = size - size % WIDTH;
    loop {
        let from = tiles.tiled_leaves().await?;
        if from >= full {
            return Ok(());
        }
        let to = full.min(from + AT_ONCE);
        let leaves = leaves(tiles, from, to).await?;
        let open: Vec<_> = open_tiles(from).collect();
        let open = tiles.tiles(&open).await?;
        // Whoever was quicker has written the same, and these may be theirs.
        if tiles.tiled_leaves().await? == from {
            tiles.add_tiles(from, &added(from, &leaves, open)?).await?;
        }
    }
}

/// The leaves of that range of indexes.
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

/// The tiles above the leaves that are begun and not full when so many leaves are in tiles.
fn open_tiles(leaves: u64) -> impl Iterator<Item = TileId> {
    let hashes = move |level: u32| leaves.checked_shr(HEIGHT * level).unwrap_or(0);
    let begun = (1..).take_while(move |level| hashes(*level) > 0);
    let last = begun.map(move |level| TileId { level, index: hashes(level) / WIDTH });
    last.filter(move |tile| tile.width_in(leaves) > 0)
}

/// The tiles that these leaves, the next ones, make or change.
fn added(from: u64, leaves: &[Hash], open: Tiles) -> Result<Tiles, StoreError> {
    for tile in open_tiles(from) {
        let (found, expected) = (open.get(&tile).map_or(0, Vec::len), tile.width_in(from));
        let found = u64::try_from(found).unwrap_or(u64::MAX);
        if found != expected {
            return Err(Corruption::TileSize { tile: tile.to_string(), expected, found }.into());
        }
    }
    let (mut tiles, mut changed) = (open, BTreeSet::new());
    for (leaf, place) in leaves.iter().zip(from..) {
        // Up through the levels, for as long as a tile becomes full.
        let (mut next, mut level, mut place) = (Some(*leaf), 0, place);
        while let Some(hash) = next {
            let (tile, _) = TileId::holding(level, place);
            let hashes = tiles.entry(tile).or_default();
            hashes.push(hash);
            changed.insert(tile);
            next = if (place + 1).is_multiple_of(WIDTH) { folded(hashes) } else { None };
            (level, place) = (level + 1, tile.index);
        }
    }
    tiles.retain(|tile, _| changed.contains(tile));
    Ok(tiles)
}
