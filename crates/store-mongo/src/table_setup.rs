//! Making the collection of a read model, or finding out that it is made.

use mongodb::IndexModel;
use mongodb::bson::{Document, RawDocument, doc};
use store::{ProjectionCheckpoint, StoreError, Table};

use crate::connection::Db;
use crate::error::{MongoError, context};
use crate::find::find;
use crate::migrate::create_collection;
use crate::row_document::{from_checkpoint, to_checkpoint};
use crate::table_reset::{begin_reset, finish_reset};

/// Makes the indexes of a read model where missing. The server goes on writing to it meanwhile.
pub(crate) async fn index(db: &Db, table: &Table) -> Result<(), StoreError> {
    let by_key = |column: &&&str| **column != table.key();
    let index = |column: &&str| {
        let mut keys = Document::new();
        keys.insert(*column, 1);
        IndexModel::builder().keys(keys).build()
    };
    let indexes: Vec<_> = table.schema.indexes.iter().filter(by_key).map(index).collect();
    if !indexes.is_empty() {
        db.table(&table.name)
            .create_indexes(indexes)
            .await
            .map_err(context("creating the indexes of a read model"))?;
    }
    Ok(())
}

/// Makes the collection of a read model and its checkpoint where missing; says how far it is.
pub(crate) async fn prepare(db: &Db, table: &Table) -> Result<ProjectionCheckpoint, StoreError> {
    create_collection(db, "checkpoints").await?;
    let removed = |(checkpoint, _): &(ProjectionCheckpoint, bool)| checkpoint.is_removed();
    if checkpoint(db, &table.name).await?.as_ref().is_some_and(removed) {
        return Err(StoreError::table_removed(&table.name));
    }
    let is_new = create_collection(db, &table.name).await?;
    let mut start = from_checkpoint(&table.name, ProjectionCheckpoint::default());
    start.remove("_id");
    // Rows without a checkpoint are nobody's.
    start.insert("clearing", true);
    let (by_name, checkpoints) = (doc! { "_id": &*table.name }, db.checkpoints());
    let made = checkpoints.update_one(by_name, doc! { "$setOnInsert": start }).upsert(true).await;
    // Of several processes at once, one inserts it and the others may be told that it is there.
    match made.map_err(MongoError::from) {
        Ok(_) | Err(MongoError::DuplicateKey(_)) => {}
        Err(failure) => return Err(failure.into_store_error("making a checkpoint")),
    }
    // Rows that are not in the table would be taken for users who do not exist.
    if is_new && let Some(begun) = begin_reset(db, table).await? {
        tracing::warn!(table = &*table.name, "it was gone; it is filled anew from the log");
        finish_reset(db, table, begun).await?;
        return Ok(begun);
    }
    let (checkpoint, clearing) = checkpoint(db, &table.name).await?.unwrap_or_default();
    if clearing {
        finish_reset(db, table, checkpoint).await?;
    }
    Ok(checkpoint)
}

/// How far a table is, and whether old rows are still being removed. Nothing of one that was never prepared.
pub(crate) async fn checkpoint(
    db: &Db,
    name: &str,
) -> Result<Option<(ProjectionCheckpoint, bool)>, StoreError> {
    let decode =
        |found: &RawDocument| to_checkpoint(found).map(|(_, checkpoint, clearing)| (checkpoint, clearing));
    let by_name = doc! { "_id": name };
    let found = find(db, &db.checkpoints(), "reading a checkpoint", by_name, doc! {}, 1, decode).await?;
    Ok(found.into_iter().next())
}
