//! The tiles of the log, in `tiles`. Whatever of them is missing, the collection itself too, is made anew from the leaves.

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocument, doc};
use store::merkle::Hash;
use store::tiles::{self, TileId, TileStore, Tiles, WIDTH};
use store::{Position, StoreError};

use crate::MongoStore;
use crate::connect::Db;
use crate::failure::{Failure, check_statements};
use crate::fields::{Fields, binary};
use crate::find::find;
use crate::migrate::make_collection;
use crate::shield::{LONG, SHORT, answered, shielded};
use crate::transaction::{Work, reason, transact};

#[async_trait]
impl TileStore for MongoStore {
    async fn leaves(&self, after: Position, limit: usize) -> Result<Vec<Hash>, StoreError> {
        let db = self.connection.work.clone();
        answered("reading leaves", LONG, async move { leaves(&db, after, limit).await }).await
    }

    async fn tiled(&self) -> Result<u64, StoreError> {
        let db = self.connection.work.clone();
        answered("reading tiles", SHORT, async move { tiled(&db).await }).await
    }

    async fn tiles(&self, wanted: &[TileId]) -> Result<Tiles, StoreError> {
        let (db, wanted) = (self.connection.work.clone(), wanted.to_vec());
        answered("reading tiles", SHORT, async move { read(&db, &wanted).await }).await
    }

    async fn add_tiles(&self, from: u64, tiles: &Tiles) -> Result<(), StoreError> {
        if from == 0 {
            let db = self.connection.work.clone();
            shielded(async move { make_collection(&db, "tiles").await }).await?;
        }
        let work = AddTiles { from, tiles: tiles.clone() };
        transact(&self.connection.work, work).await.map_err(reason)
    }
}

/// The leaves above a position.
async fn leaves(db: &Db, after: Position, limit: usize) -> Result<Vec<Hash>, StoreError> {
    // By the primary key, so that the server reads on where the log goes on.
    let above = doc! { "_id": { "$gt": after.to_i64() } };
    find(db, &db.events(), "reading leaves", above, doc! { "_id": 1 }, limit, |event| {
        Fields::new(event, "an event").hash("leaf")
    })
    .await
}

/// How many leaves are in tiles.
async fn tiled(db: &Db) -> Result<u64, StoreError> {
    let last = find(db, &db.tiles(), "reading tiles", of_leaves(), doc! { "_id": -1 }, 1, number).await?;
    Ok(leaves_up_to(last.first().copied()))
}

/// These tiles.
async fn read(db: &Db, wanted: &[TileId]) -> Result<Tiles, StoreError> {
    let numbers: Vec<_> = wanted.iter().map(|tile| tile.to_number()).collect();
    let wanted = doc! { "_id": { "$in": numbers } };
    let found = find(db, &db.tiles(), "reading tiles", wanted, doc! {}, usize::MAX, |document| {
        let tile = TileId::from_number(number(document)?);
        let hashes = tiles::from_bytes(Fields::new(document, "a tile").bytes("hashes")?);
        tile.zip(hashes).ok_or_else(|| StoreError::corrupt("a tile is no list of hashes"))
    })
    .await?;
    Ok(found.into_iter().collect())
}

/// Writes tiles, unless others were quicker.
struct AddTiles {
    from: u64,
    tiles: Tiles,
}

#[async_trait]
impl Work for AddTiles {
    type Answer = ();

    fn what(&self) -> String {
        "writing tiles".to_owned()
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<(), Failure> {
        let last = db.tiles().find_one(of_leaves()).sort(doc! { "_id": -1 }).session(&mut *session).await?;
        let last = last.as_deref().map(number).transpose()?;
        if leaves_up_to(last) != self.from {
            return Ok(());
        }
        let statement = |(tile, hashes): (&TileId, &Vec<Hash>)| {
            let (tile, hashes) = (tile.to_number(), binary(&tiles::to_bytes(hashes)));
            doc! { "q": { "_id": tile }, "u": { "_id": tile, "hashes": hashes }, "upsert": true }
        };
        let updates: Vec<_> = self.tiles.iter().map(statement).collect();
        let update = doc! { "update": db.tiles().name(), "updates": updates };
        let answer = db.handle().run_command(update).session(&mut *session).await?;
        check_statements("writing tiles", &answer)
    }
}

fn of_leaves() -> Document {
    doc! { "_id": { "$lt": TileId { level: 1, index: 0 }.to_number() } }
}

fn number(document: &RawDocument) -> Result<i64, StoreError> {
    Fields::new(document, "a tile").number("_id")
}

fn leaves_up_to(last: Option<i64>) -> u64 {
    last.and_then(TileId::from_number).map_or(0, |last| (last.index + 1) * WIDTH)
}
