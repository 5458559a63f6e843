//! Creates the collection, indexes and checkpoint of a read model where they are missing.

use mongodb::IndexModel;
use mongodb::bson::{Document, RawDocument, doc};
use store::{ProjectionCheckpoint, StoreError, Table};

use crate::connection::{CHECKPOINTS, Db};
use crate::error::{MongoError, context};
use crate::find::find;
use crate::migrate::create_collection;
use crate::row_document::{from_checkpoint, to_checkpoint};
use crate::table_reset::{begin_reset, finish_reset};

/// Creates missing indexes of a read model. The server continues to accept writes meanwhile.
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

/// Creates the collection and the checkpoint if they are missing; returns the checkpoint.
pub(crate) async fn prepare(db: &Db, table: &Table) -> Result<ProjectionCheckpoint, StoreError> {
    create_collection(db, CHECKPOINTS).await?;
    let removed = |(checkpoint, _): &(ProjectionCheckpoint, bool)| checkpoint.is_removed();
    if checkpoint(db, &table.name).await?.as_ref().is_some_and(removed) {
        return Err(StoreError::table_removed(&table.name));
    }
    let is_new = create_collection(db, &table.name).await?;
    let mut start = from_checkpoint(&table.name, ProjectionCheckpoint::default());
    start.remove("_id");
    // Rows without a checkpoint cannot be trusted, so a new checkpoint starts with a reset.
    start.insert("clearing", true);
    let (by_name, checkpoints) = (doc! { "_id": &*table.name }, db.checkpoints());
    let inserted = checkpoints.update_one(by_name, doc! { "$setOnInsert": start }).upsert(true).await;
    // Concurrent processes: one inserts the checkpoint, the others may get a duplicate key error.
    match inserted.map_err(MongoError::from) {
        Ok(_) | Err(MongoError::DuplicateKey(_)) => {}
        Err(failure) => return Err(failure.into_store_error("creating a checkpoint")),
    }
    // Without the reset, users whose rows are missing would seem not to exist.
    if is_new && let Some(begun) = begin_reset(db, table).await? {
        tracing::warn!(table = &*table.name, "the table was missing; rebuilding it from the log");
        finish_reset(db, table, begun).await?;
        return Ok(begun);
    }
    let (checkpoint, clearing) = checkpoint(db, &table.name).await?.unwrap_or_default();
    if clearing {
        finish_reset(db, table, checkpoint).await?;
    }
    Ok(checkpoint)
}

/// The checkpoint of a table, and whether a reset is still deleting rows. `None` if the table was never
/// prepared.
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
