//! Tiles of the log's Merkle tree, in `tiles`. Missing tiles, or the whole collection, are rebuilt from the
//! leaves.

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocument, doc};
use store::merkle::Hash;
use store::tiles::{self, TileId, TileStore, Tiles, WIDTH};
use store::{Corruption, Position, StoreError};

use crate::connection::Db;
use crate::detached::{REQUEST_TIMEOUT, SCAN_TIMEOUT, spawn_detached, spawn_with_timeout};
use crate::document_reader::{DocumentReader, binary};
use crate::error::{MongoError, check_write_errors};
use crate::find::find;
use crate::migrate::create_collection;
use crate::mongo_store::MongoStore;
use crate::transaction::{TransactionBody, inner_error, run_transaction};

#[async_trait]
impl TileStore for MongoStore {
    async fn leaves(&self, after: Position, limit: usize) -> Result<Vec<Hash>, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout("reading leaves", SCAN_TIMEOUT, async move { leaves(&db, after, limit).await })
            .await
    }

    async fn tiled_leaves(&self) -> Result<u64, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout("reading tiles", REQUEST_TIMEOUT, async move { tiled_leaves(&db).await }).await
    }

    async fn tiles(&self, wanted: &[TileId]) -> Result<Tiles, StoreError> {
        let (db, wanted) = (self.connection.work.clone(), wanted.to_vec());
        spawn_with_timeout("reading tiles", REQUEST_TIMEOUT, async move { read(&db, &wanted).await }).await
    }

    async fn add_tiles(&self, from: u64, tiles: &Tiles) -> Result<(), StoreError> {
        if from == 0 {
            let db = self.connection.work.clone();
            spawn_detached(async move { create_collection(&db, "tiles").await }).await?;
        }
        let work = AddTiles { from, tiles: tiles.clone() };
        run_transaction(&self.connection.work, work).await.map_err(inner_error)
    }
}

/// The leaves after a position.
async fn leaves(db: &Db, after: Position, limit: usize) -> Result<Vec<Hash>, StoreError> {
    // In the order of the primary key, so that the server scans the log sequentially.
    let above = doc! { "_id": { "$gt": after.to_i64() } };
    find(db, &db.events(), "reading leaves", above, doc! { "_id": 1 }, limit, |event| {
        DocumentReader::new(event, "an event").hash("leaf")
    })
    .await
}

/// How many leaves the tiles contain.
async fn tiled_leaves(db: &Db) -> Result<u64, StoreError> {
    let last = find(db, &db.tiles(), "reading tiles", leaf_tiles(), doc! { "_id": -1 }, 1, number).await?;
    Ok(leaves_in_tiles(last.first().copied()))
}

/// Reads these tiles.
async fn read(db: &Db, wanted: &[TileId]) -> Result<Tiles, StoreError> {
    let numbers: Vec<_> = wanted.iter().map(|tile| tile.to_number()).collect();
    let wanted = doc! { "_id": { "$in": numbers } };
    let found = find(db, &db.tiles(), "reading tiles", wanted, doc! {}, usize::MAX, |document| {
        let tile = TileId::from_number(number(document)?);
        let hashes = tiles::from_bytes(DocumentReader::new(document, "a tile").bytes("hashes")?);
        tile.zip(hashes).ok_or_else(|| Corruption::invalid("a tile", "it is not a list of hashes").into())
    })
    .await?;
    Ok(found.into_iter().collect())
}

/// Writes tiles, unless another process has already done so.
struct AddTiles {
    from: u64,
    tiles: Tiles,
}

#[async_trait]
impl TransactionBody for AddTiles {
    type Output = ();

    fn description(&self) -> String {
        "writing tiles".to_owned()
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<(), MongoError> {
        let last = db.tiles().find_one(leaf_tiles()).sort(doc! { "_id": -1 }).session(&mut *session).await?;
        let last = last.as_deref().map(number).transpose()?;
        if leaves_in_tiles(last) != self.from {
            return Ok(());
        }
        let statement = |(tile, hashes): (&TileId, &Vec<Hash>)| {
            let (tile, hashes) = (tile.to_number(), binary(&tiles::to_bytes(hashes)));
            doc! { "q": { "_id": tile }, "u": { "_id": tile, "hashes": hashes }, "upsert": true }
        };
        let updates: Vec<_> = self.tiles.iter().map(statement).collect();
        let update = doc! { "update": db.tiles().name(), "updates": updates };
        let answer = db.handle().run_command(update).session(&mut *session).await?;
        check_write_errors("writing tiles", &answer)
    }
}

fn leaf_tiles() -> Document {
    doc! { "_id": { "$lt": TileId { level: 1, index: 0 }.to_number() } }
}

fn number(document: &RawDocument) -> Result<i64, StoreError> {
    DocumentReader::new(document, "a tile").number("_id")
}

fn leaves_in_tiles(last: Option<i64>) -> u64 {
    last.and_then(TileId::from_number).map_or(0, |last| (last.index + 1) * WIDTH)
}
