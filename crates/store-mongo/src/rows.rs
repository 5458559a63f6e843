//! Read models: rows in a collection each, their checkpoints in `checkpoints`.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::raw::cstr;
use mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, doc};
use store::{ApplyError, Change, Checkpoint, ReadModels, Row, Slice, StoreError, Table, Versions};

use crate::MongoStore;
use crate::connect::Db;
use crate::facts::ONE_REPLY;
use crate::failure::{Failure, cannot, check_statements};
use crate::fields::raw;
use crate::find::{breathe, find};
use crate::preparing::{checkpoint, index, prepare};
use crate::row_document::{field, from_checkpoint, from_row, to_checkpoint, to_row};
use crate::shield::{LONG, SHORT, answered, shielded};
use crate::transaction::{Work, all, reason, transact};
use crate::versions::{self, ChangeVersions};

/// The most rows that [`ReadModels::find`] gives.
const FOUND: usize = 100;

#[async_trait]
impl ReadModels for MongoStore {
    async fn prepare(&self, table: &Table) -> Result<(), StoreError> {
        let (db, prepared) = (self.connection.work.clone(), table.clone());
        let checkpoint = shielded(async move { prepare(&db, &prepared).await }).await?;
        self.board.rely_on(&table.name);
        self.board.raise_checkpoint(&table.name, checkpoint);
        Ok(())
    }

    async fn index(&self, table: &Table) -> Result<(), StoreError> {
        let (db, table) = (self.connection.work.clone(), table.clone());
        shielded(async move { index(&db, &table).await }).await
    }

    async fn checkpoint(&self, table: &Table) -> Result<Checkpoint, StoreError> {
        let (db, name) = (self.connection.work.clone(), Arc::clone(&table.name));
        let read = async move { checkpoint(&db, &name).await };
        match answered("reading a checkpoint", SHORT, read).await? {
            Some((checkpoint, _)) => Ok(checkpoint),
            None if self.board.relies_on(&table.name) => Err(StoreError::gone("checkpoints")),
            None => Ok(Checkpoint::default()),
        }
    }

    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let filter = doc! { "_id": { "$in": keys } };
        Ok(self.select(table, filter, doc! {}, usize::MAX).await?.into_iter().collect())
    }

    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<Vec<Row>, StoreError> {
        let mut filter = Document::new();
        filter.insert(field(table, column), text);
        let found = self.select(table, filter, doc! { "_id": 1 }, FOUND).await?;
        Ok(found.into_iter().map(|(_, row)| row).collect())
    }

    async fn slice(&self, table: &Table, after: Option<&str>, limit: usize) -> Result<Slice, StoreError> {
        let (db, after) = (self.connection.work.clone(), after.map(ToOwned::to_owned));
        let work = ReadSlice { table: table.clone(), after, limit };
        answered("reading rows", LONG, async move { transact(&db, work).await.map_err(reason) }).await
    }

    async fn apply(
        &self,
        table: &Table,
        from: Checkpoint,
        to: Checkpoint,
        changes: Vec<Change>,
    ) -> Result<(), ApplyError> {
        if from.is_removed() {
            return Err(ApplyError::Overtaken);
        }
        let rows = Rows::new(table, from, to, changes).await?;
        match transact(&self.connection.work, rows).await {
            Ok(true) => self.board.raise_checkpoint(&table.name, to),
            Ok(false) => return Err(ApplyError::Overtaken),
            Err(error) => return Err(reason(error).into()),
        }
        Ok(())
    }

    async fn versions(&self, projection: &str) -> Result<Option<Versions>, StoreError> {
        let (db, name) = (self.connection.work.clone(), projection.to_owned());
        let read = async move { versions::read(&db, &name).await };
        let versions = answered("reading versions", SHORT, read).await?;
        if let Some(versions) = versions.clone() {
            self.board.raise_versions(projection, versions);
        }
        Ok(versions)
    }

    async fn change_versions(
        &self,
        projection: &str,
        to: &Versions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), ApplyError> {
        let behind = behind.map(|(one, other)| (one.clone(), other.clone()));
        let change = ChangeVersions { projection: projection.to_owned(), to: to.clone(), behind };
        match transact(&self.connection.work, change).await {
            Ok(true) => self.board.raise_versions(projection, to.clone()),
            Ok(false) => return Err(ApplyError::Overtaken),
            Err(error) => return Err(reason(error).into()),
        }
        Ok(())
    }

    async fn remove(&self, table: &Table) -> Result<(), StoreError> {
        self.board.forget(&table.name);
        let (db, name) = (self.connection.work.clone(), Arc::clone(&table.name));
        shielded(async move {
            // The checkpoint first: from then on nobody writes to it.
            let (by_name, removed) = (doc! { "_id": &*name }, from_checkpoint(&name, Checkpoint::removed()));
            let marked = db.checkpoints().replace_one(by_name, raw(&removed)?).upsert(true).await;
            marked.map_err(cannot("removing a checkpoint"))?;
            db.table(&name).drop().await.map_err(cannot("removing a read model"))
        })
        .await
    }
}

impl MongoStore {
    async fn select(
        &self,
        table: &Table,
        filter: Document,
        order: Document,
        limit: usize,
    ) -> Result<Vec<(String, Row)>, StoreError> {
        let (db, table) = (self.connection.work.clone(), table.clone());
        answered("reading rows", SHORT, async move {
            find(&db, &db.table(&table.name), "reading rows", filter, order, limit, |document| {
                to_row(&table, document)
            })
            .await
        })
        .await
    }
}

/// A page of rows, and the checkpoint of the same moment.
struct ReadSlice {
    table: Table,
    after: Option<String>,
    limit: usize,
}

#[async_trait]
impl Work for ReadSlice {
    type Answer = Slice;

    fn what(&self) -> String {
        format!("reading rows of {}", self.table.name)
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<Slice, Failure> {
        let Self { table, after, limit } = self;
        let by_name = doc! { "_id": &*table.name };
        let checkpoint = match db.checkpoints().find_one(by_name).session(&mut *session).await? {
            Some(found) => to_checkpoint(&found)?.1,
            None => Checkpoint::default(),
        };
        let above = after.as_ref().map_or_else(Document::new, |after| doc! { "_id": { "$gt": after } });
        let rows = db.table(&table.name);
        let found = rows.find(above).sort(doc! { "_id": 1 }).batch_size(ONE_REPLY);
        let found = found.limit(i64::try_from(*limit).unwrap_or(i64::MAX)).session(&mut *session).await?;
        let rows = all(found, session).await?;
        let rows = rows.iter().map(|row| to_row(table, row).map(|(_, row)| row)).collect::<Result<_, _>>()?;
        Ok(Slice { checkpoint, rows })
    }
}

/// Rows to write together with their checkpoint.
struct Rows {
    table: Table,
    from: Checkpoint,
    moved: RawDocumentBuf,
    /// The rows that are not there yet.
    new: Vec<RawDocumentBuf>,
    /// The rows to replace, by their keys.
    replaced: Vec<(String, RawDocumentBuf)>,
    removed: Vec<String>,
}

impl Rows {
    async fn new(
        table: &Table,
        from: Checkpoint,
        moved: Checkpoint,
        changes: Vec<Change>,
    ) -> Result<Self, StoreError> {
        // Of several changes to one row the last counts.
        let changes: HashMap<_, _> = changes.into_iter().map(|change| (change.key.clone(), change)).collect();
        let moved = raw(&from_checkpoint(&table.name, moved))?;
        let (new, replaced, removed) = Default::default();
        let mut rows = Self { table: table.clone(), from, moved, new, replaced, removed };
        for (done, (key, Change { row, known, .. })) in changes.into_iter().enumerate() {
            breathe(done).await;
            match row {
                Some(row) if known => {
                    let row = from_row(table, &key, &row)?;
                    rows.replaced.push((key, row));
                }
                Some(row) => rows.new.push(from_row(table, &key, &row)?),
                None => rows.removed.push(key),
            }
        }
        Ok(rows)
    }
}

#[async_trait]
impl Work for Rows {
    /// Whether the checkpoint was where it was believed to be.
    type Answer = bool;

    fn what(&self) -> String {
        format!("writing rows of {}", self.table.name)
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<bool, Failure> {
        let mut believed = from_checkpoint(&self.table.name, self.from);
        believed.insert("clearing", doc! { "$exists": false });
        // Replaced, not updated: the change stream then carries the new checkpoint whole.
        let moved = db.checkpoints().replace_one(believed, &self.moved).session(&mut *session).await?;
        if moved.matched_count == 0 {
            return Ok(false);
        }
        let rows = db.table(&self.table.name);
        if !self.new.is_empty() {
            rows.insert_many(&self.new).session(&mut *session).await?;
        }
        for chunk in chunks(&self.replaced) {
            let update = replacements(&self.table.name, chunk);
            let answer = db.handle().run_raw_command(update).session(&mut *session).await?;
            check_statements("replacing rows", &answer)?;
        }
        if !self.removed.is_empty() {
            rows.delete_many(doc! { "_id": { "$in": &self.removed } }).session(&mut *session).await?;
        }
        Ok(true)
    }
}

/// Replacements that fit into one command, which like every document may have 16 MB.
fn chunks(rows: &[(String, RawDocumentBuf)]) -> impl Iterator<Item = &[(String, RawDocumentBuf)]> {
    const MOST_BYTES: usize = 8 * 1024 * 1024;
    let mut bytes = 0;
    rows.chunk_by(move |_, (key, row)| {
        bytes += key.len() + row.as_bytes().len() + 100;
        let fits = bytes < MOST_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

fn replacements(table: &str, rows: &[(String, RawDocumentBuf)]) -> RawDocumentBuf {
    let statement = |(key, row): &(String, RawDocumentBuf)| {
        let mut query = RawDocumentBuf::new();
        query.append(cstr!("_id"), key.as_str());
        let mut statement = RawDocumentBuf::new();
        statement.append(cstr!("q"), query);
        statement.append(cstr!("u"), row);
        // What somebody has removed by hand comes back.
        statement.append(cstr!("upsert"), true);
        statement
    };
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("update"), table);
    command.append(cstr!("updates"), rows.iter().map(statement).collect::<RawArrayBuf>());
    command
}
