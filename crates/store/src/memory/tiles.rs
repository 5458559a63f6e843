//! Merkle tree tiles of the reference backend.

use async_trait::async_trait;

use super::{Memory, State};
use crate::error::StoreError;
use crate::event::Position;
use crate::merkle::Hash;
use crate::tiles::{TileId, TileStore, Tiles, WIDTH};

#[async_trait]
impl TileStore for Memory {
    async fn leaves(&self, after: Position, limit: usize) -> Result<Vec<Hash>, StoreError> {
        let state = self.state();
        let above = state.events.iter().filter(|event| event.position > after);
        Ok(above.take(limit).map(|event| event.leaf).collect())
    }

    async fn tiled_leaves(&self) -> Result<u64, StoreError> {
        Ok(self.state().tiled_leaves())
    }

    async fn tiles(&self, wanted: &[TileId]) -> Result<Tiles, StoreError> {
        let state = self.state();
        Ok(wanted.iter().filter_map(|tile| Some((*tile, state.tiles.get(tile)?.clone()))).collect())
    }

    async fn add_tiles(&self, from: u64, tiles: &Tiles) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.tiled_leaves() == from {
            state.tiles.extend(tiles.clone());
        }
        Ok(())
    }
}

impl State {
    fn tiled_leaves(&self) -> u64 {
        let leaves = self.tiles.keys().rfind(|tile| tile.level == 0);
        leaves.map_or(0, |last| (last.index + 1) * WIDTH)
    }
}
