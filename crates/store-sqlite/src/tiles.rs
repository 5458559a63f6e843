//! Tiles of the log's Merkle tree, in `tiles`. Missing tiles, or the whole table, are rebuilt from the
//! leaves.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use store::merkle::Hash;
use store::tiles::{self, TileId, TileStore, Tiles, WIDTH};
use store::{Corruption, Position, StoreError};

use crate::columns::row_limit;
use crate::error::{SqliteError, none_if_table_missing};
use crate::schema::TILES;
use crate::sqlite_store::SqliteStore;
use crate::transaction::begin;

#[async_trait]
impl TileStore for SqliteStore {
    async fn leaves(&self, after: Position, limit: usize) -> Result<Vec<Hash>, StoreError> {
        self.read(move |connection| leaves(connection, after, limit)).await
    }

    async fn tiled_leaves(&self) -> Result<u64, StoreError> {
        self.read(tiled_leaves).await
    }

    async fn tiles(&self, wanted: &[TileId]) -> Result<Tiles, StoreError> {
        let wanted = wanted.to_vec();
        self.read(move |connection| read(connection, &wanted)).await
    }

    async fn add_tiles(&self, from: u64, tiles: &Tiles) -> Result<(), StoreError> {
        let added = tiles.clone();
        self.write(move |connection| add(connection, from, &added)).await
    }
}

/// The leaves after a position.
fn leaves(connection: &Connection, after: Position, limit: usize) -> Result<Vec<Hash>, SqliteError> {
    let sql = "SELECT leaf FROM events WHERE position > ?1 ORDER BY position LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found =
        statement.query_map(params![after.to_i64(), row_limit(limit)], |row| row.get::<_, Hash>(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// How many leaves the tiles contain.
fn tiled_leaves(connection: &Connection) -> Result<u64, SqliteError> {
    let above = TileId { level: 1, index: 0 }.to_number();
    let last = (|| {
        let sql = "SELECT tile FROM tiles WHERE tile < ?1 ORDER BY tile DESC LIMIT 1";
        let mut statement = connection.prepare_cached(sql)?;
        Ok(statement.query_row([above], |row| row.get(0)).optional()?)
    })();
    let last = none_if_table_missing(last)?.flatten().and_then(TileId::from_number);
    Ok(last.map_or(0, |last| (last.index + 1) * WIDTH))
}

/// Reads these tiles.
fn read(connection: &Connection, wanted: &[TileId]) -> Result<Tiles, SqliteError> {
    let found = (|| {
        let mut statement = connection.prepare_cached("SELECT hashes FROM tiles WHERE tile = ?1")?;
        let mut found = Tiles::new();
        for tile in wanted {
            let stored: Option<Vec<u8>> =
                statement.query_row([tile.to_number()], |row| row.get(0)).optional()?;
            if let Some(stored) = stored {
                let damaged = || Corruption::invalid(format!("tile {tile}"), "it is not a list of hashes");
                found.insert(*tile, tiles::from_bytes(&stored).ok_or_else(damaged)?);
            }
        }
        Ok(found)
    })();
    Ok(none_if_table_missing(found)?.unwrap_or_default())
}

/// Writes tiles, unless another process has already done so.
fn add(connection: &mut Connection, from: u64, added: &Tiles) -> Result<(), SqliteError> {
    let transaction = begin(connection)?;
    transaction.execute_batch(TILES)?;
    if tiled_leaves(&transaction)? != from {
        return Ok(());
    }
    {
        let sql = "INSERT OR REPLACE INTO tiles (tile, hashes) VALUES (?1, ?2)";
        let mut statement = transaction.prepare_cached(sql)?;
        for (tile, hashes) in added {
            statement.execute(params![tile.to_number(), tiles::to_bytes(hashes)])?;
        }
    }
    Ok(transaction.commit()?)
}
