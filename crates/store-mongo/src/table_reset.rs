//! Empties a read-model table. First the checkpoint is reset and marked `clearing`, which rejects every
//! writer. Then the rows are deleted in small transactions, each of which verifies that the mark is
//! unchanged. A process that finds the mark of an interrupted reset finishes it.

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::doc;
use store::{Position, ProjectionCheckpoint, StoreError, Table};

use crate::connection::Db;
use crate::document_reader::raw;
use crate::error::MongoError;
use crate::row_document::{from_checkpoint, row_keys, to_checkpoint};
use crate::transaction::{TransactionBody, collect_all, inner_error, run_transaction};

/// How many rows one transaction deletes.
const ROWS_PER_TRANSACTION: u32 = 1000;
/// Consecutive failures after which a reset gives up.
const MAX_RESET_FAILURES: u32 = 3;

/// Resets the checkpoint of a table to the start, increments `rebuilds` and sets the mark: for a collection
/// that was missing although its checkpoint says that it has rows. `None` if the checkpoint is at the start.
pub(crate) async fn begin_reset(db: &Db, table: &Table) -> Result<Option<ProjectionCheckpoint>, StoreError> {
    run_transaction(db, BeginReset(table.clone())).await.map_err(inner_error)
}

/// Deletes the old rows and removes the mark; ends early if another process has done so.
pub(crate) async fn finish_reset(
    db: &Db,
    table: &Table,
    mark: ProjectionCheckpoint,
) -> Result<(), StoreError> {
    let mut failures = 0;
    loop {
        match run_transaction(db, DeleteRows { table: table.clone(), mark }).await {
            Ok(ResetProgress::More) => failures = 0,
            Ok(ResetProgress::Done) => return Ok(()),
            // Each step is idempotent, so an unknown outcome is treated as a failure.
            Err(error) => {
                failures += 1;
                if failures >= MAX_RESET_FAILURES {
                    return Err(inner_error(error));
                }
            }
        }
    }
}

struct BeginReset(Table);

#[async_trait]
impl TransactionBody for BeginReset {
    type Output = Option<ProjectionCheckpoint>;

    fn description(&self) -> String {
        format!("resetting the table {}", self.0.name)
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<Self::Output, MongoError> {
        match checkpoint(db, session, &self.0).await? {
            Some(held) if held.position > Position::START => mark(db, session, &self.0).await.map(Some),
            _ => Ok(None),
        }
    }
}

/// Resets the checkpoint, increments `rebuilds` and sets the mark.
async fn mark(
    db: &Db,
    session: &mut ClientSession,
    table: &Table,
) -> Result<ProjectionCheckpoint, MongoError> {
    let rebuilds = checkpoint(db, session, table).await?.map_or(0, |held| held.rebuilds);
    let begun = ProjectionCheckpoint::start(rebuilds + 1);
    let mut marked = from_checkpoint(&table.name, begun);
    marked.insert("clearing", true);
    let by_name = doc! { "_id": &*table.name };
    db.checkpoints().replace_one(by_name, raw(&marked)?).upsert(true).session(&mut *session).await?;
    Ok(begun)
}

async fn checkpoint(
    db: &Db,
    session: &mut ClientSession,
    table: &Table,
) -> Result<Option<ProjectionCheckpoint>, MongoError> {
    let found = db.checkpoints().find_one(doc! { "_id": &*table.name }).session(&mut *session).await?;
    Ok(found.map(|found| to_checkpoint(&found)).transpose()?.map(|(_, checkpoint, _)| checkpoint))
}

enum ResetProgress {
    More,
    Done,
}

struct DeleteRows {
    table: Table,
    mark: ProjectionCheckpoint,
}

#[async_trait]
impl TransactionBody for DeleteRows {
    type Output = ResetProgress;

    fn description(&self) -> String {
        format!("deleting the rows of {}", self.table.name)
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<ResetProgress, MongoError> {
        let unmarked = from_checkpoint(&self.table.name, self.mark);
        let mut marked = unmarked.clone();
        marked.insert("clearing", true);
        let touch = doc! { "$inc": { "touched": 1_i64 } };
        if db.checkpoints().update_one(marked, touch).session(&mut *session).await?.matched_count == 0 {
            return Ok(ResetProgress::Done);
        }
        let rows = db.table(&self.table.name);
        let some = rows
            .find(doc! {})
            .projection(doc! { "_id": 1 })
            .limit(i64::from(ROWS_PER_TRANSACTION))
            .batch_size(ROWS_PER_TRANSACTION);
        let some = some.session(&mut *session).await?;
        let keys: Vec<String> = row_keys(&collect_all(some, session).await?);
        if keys.is_empty() {
            let by_name = doc! { "_id": &*self.table.name };
            db.checkpoints().replace_one(by_name, raw(&unmarked)?).session(&mut *session).await?;
            return Ok(ResetProgress::Done);
        }
        rows.delete_many(doc! { "_id": { "$in": keys } }).session(&mut *session).await?;
        Ok(ResetProgress::More)
    }
}
