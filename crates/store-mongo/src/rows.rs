//! Read models: one collection per table, with checkpoints in `checkpoints`.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::raw::cstr;
use mongodb::bson::{Document, RawArrayBuf, RawDocument, RawDocumentBuf, doc};
use mongodb::options::ReadConcern;
use store::{
    Corruption, Position, PrefixQuery, ProjectionCheckpoint, ProjectionVersions, ReadModelStore, Row,
    RowChange, RowPage, StoreError, Table, TableWrite, WriteError,
};

use crate::connection::{CHECKPOINTS, Db};
use crate::detached::{REQUEST_TIMEOUT, SCAN_TIMEOUT, spawn_detached, spawn_with_timeout};
use crate::document_reader::{DocumentReader, raw};
use crate::error::{MongoError, check_write_errors, context};
use crate::event_document::HEAD_ID;
use crate::find::{find, yield_if_due};
use crate::mongo_store::MongoStore;
use crate::preconditions::lookup;
use crate::row_document::{field_name, from_checkpoint, from_row, to_checkpoint, to_row};
use crate::table_setup::{checkpoint, index, prepare};
use crate::transaction::{ONE_REPLY, TransactionBody, collect_all, inner_error, run_transaction};
use crate::versions::{self, ChangeVersions};

/// The maximum number of rows that [`ReadModelStore::find`] returns.
const MAX_FIND_ROWS: usize = 100;

#[async_trait]
impl ReadModelStore for MongoStore {
    async fn prepare(&self, table: &Table) -> Result<(), StoreError> {
        let (db, prepared) = (self.connection.work.clone(), table.clone());
        let checkpoint = spawn_detached(async move { prepare(&db, &prepared).await }).await?;
        self.tracker.watch(&table.name);
        self.tracker.advance_checkpoint(&table.name, checkpoint);
        Ok(())
    }

    async fn index(&self, table: &Table) -> Result<(), StoreError> {
        let (db, table) = (self.connection.work.clone(), table.clone());
        spawn_detached(async move { index(&db, &table).await }).await
    }

    async fn checkpoint(&self, table: &Table) -> Result<ProjectionCheckpoint, StoreError> {
        let (db, name) = (self.connection.work.clone(), Arc::clone(&table.name));
        let read = async move { checkpoint(&db, &name).await };
        match spawn_with_timeout("reading a checkpoint", REQUEST_TIMEOUT, read).await? {
            Some((checkpoint, _)) => Ok(checkpoint),
            None if self.tracker.is_watched(&table.name) => Err(StoreError::table_dropped("checkpoints")),
            None => Ok(ProjectionCheckpoint::default()),
        }
    }

    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let (db, table, filter) =
            (self.connection.work.clone(), table.clone(), doc! { "_id": { "$in": keys } });
        let read = async move {
            let rows = db.table(&table.name);
            let decode = |row: &RawDocument| to_row(&table, row);
            find(&db, &rows, "reading rows", filter, doc! {}, usize::MAX, decode).await
        };
        let found = spawn_with_timeout("reading rows", REQUEST_TIMEOUT, read).await?;
        Ok(found.into_iter().collect())
    }

    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<RowPage, StoreError> {
        let mut filter = Document::new();
        filter.insert(field_name(table, column), text);
        let (db, table) = (self.connection.work.clone(), table.clone());
        let read = async move { find_rows(&db, &table, filter).await };
        spawn_with_timeout("reading rows", REQUEST_TIMEOUT, read).await
    }

    async fn row_page(
        &self,
        table: &Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        let filter = after.map_or_else(Document::new, |after| doc! { "_id": { "$gt": after } });
        self.read_slice(ReadSlice { table: table.clone(), filter, order: doc! { "_id": 1 }, limit }).await
    }

    async fn prefix_page(&self, table: &Table, query: &PrefixQuery) -> Result<RowPage, StoreError> {
        let field = field_name(table, query.column);
        let (mut filter, mut order) = (Document::new(), Document::new());
        filter.insert(field, prefix_bounds(query));
        order.insert(field, 1);
        self.read_slice(ReadSlice { table: table.clone(), filter, order, limit: query.limit }).await
    }

    async fn apply_all(&self, writes: Vec<TableWrite>) -> Result<(), WriteError> {
        if writes.iter().any(|write| write.from.is_removed()) {
            return Err(WriteError::Conflict);
        }
        let moved: Vec<_> = writes.iter().map(|write| (Arc::clone(&write.table.name), write.to)).collect();
        match run_transaction(&self.connection.work, ApplyRows::new(writes).await?).await {
            Ok(true) => {}
            Ok(false) => return Err(WriteError::Conflict),
            Err(error) => return Err(inner_error(error).into()),
        }
        for (table, to) in moved {
            self.tracker.advance_checkpoint(&table, to);
        }
        Ok(())
    }

    async fn versions(&self, projection: &str) -> Result<Option<ProjectionVersions>, StoreError> {
        let (db, name) = (self.connection.work.clone(), projection.to_owned());
        let read = async move { versions::read(&db, &name).await };
        let versions = spawn_with_timeout("reading versions", REQUEST_TIMEOUT, read).await?;
        if let Some(versions) = versions.clone() {
            self.tracker.advance_versions(projection, versions);
        }
        Ok(versions)
    }

    async fn change_versions(
        &self,
        projection: &str,
        to: &ProjectionVersions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), WriteError> {
        let behind = behind.map(|(one, other)| (one.clone(), other.clone()));
        let change = ChangeVersions { projection: projection.to_owned(), to: to.clone(), behind };
        match run_transaction(&self.connection.work, change).await {
            Ok(true) => self.tracker.advance_versions(projection, to.clone()),
            Ok(false) => return Err(WriteError::Conflict),
            Err(error) => return Err(inner_error(error).into()),
        }
        Ok(())
    }

    async fn remove(&self, table: &Table) -> Result<(), StoreError> {
        self.tracker.unwatch(&table.name);
        let (db, name) = (self.connection.work.clone(), Arc::clone(&table.name));
        spawn_detached(async move {
            // The checkpoint first: it rejects all later writes.
            let (by_name, removed) =
                (doc! { "_id": &*name }, from_checkpoint(&name, ProjectionCheckpoint::removed()));
            let marked = db.checkpoints().replace_one(by_name, raw(&removed)?).upsert(true).await;
            marked.map_err(context("removing a checkpoint"))?;
            db.table(&name).drop().await.map_err(context("removing a read model"))
        })
        .await
    }
}

/// Reads at most [`MAX_FIND_ROWS`] rows, the checkpoint and the head of the log from one snapshot, in one
/// command.
async fn find_rows(db: &Db, table: &Table, filter: Document) -> Result<RowPage, StoreError> {
    let limit = i64::try_from(MAX_FIND_ROWS).unwrap_or(i64::MAX);
    let matching = vec![doc! { "$match": filter }, doc! { "$sort": { "_id": 1 } }, doc! { "$limit": limit }];
    let by_name = vec![doc! { "$match": { "_id": &*table.name } }];
    let pipeline = [
        doc! { "$match": { "_id": HEAD_ID } },
        doc! { "$project": { "position": 1 } },
        lookup(CHECKPOINTS, by_name, "checkpoint"),
        lookup(&table.name, matching, "rows"),
    ];
    let mut session = db.session().await.map_err(context("reading rows"))?;
    let heads = db.head();
    let query = heads.aggregate(pipeline).read_concern(ReadConcern::snapshot()).with_type();
    let found = query.session(&mut session).await.map_err(context("reading rows"))?;
    let found = collect_all(found, &mut session).await.map_err(context("reading rows"))?;
    db.observe(&session);
    let found = found.first().ok_or_else(|| Corruption::missing("the head of the log"))?;
    let fields = DocumentReader::new(found, "the head of the log with rows");
    let checkpoint = fields.documents("checkpoint")?.into_iter().next().map(to_checkpoint).transpose()?;
    let rows = fields.documents("rows")?.into_iter().map(|row| to_row(table, row).map(|(_, row)| row));
    Ok(RowPage {
        checkpoint: checkpoint.map(|(_, checkpoint, _)| checkpoint).unwrap_or_default(),
        head: fields.position("position")?,
        rows: rows.collect::<Result<_, _>>()?,
    })
}

impl MongoStore {
    async fn read_slice(&self, slice: ReadSlice) -> Result<RowPage, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout("reading rows", SCAN_TIMEOUT, async move {
            run_transaction(&db, slice).await.map_err(inner_error)
        })
        .await
    }
}

/// The bounds of the values of a query. Strings are compared by their bytes.
fn prefix_bounds(query: &PrefixQuery) -> Document {
    let mut bounds = match query.lower() {
        Bound::Excluded(after) => doc! { "$gt": after },
        Bound::Included(prefix) => doc! { "$gte": prefix },
        // Only texts.
        Bound::Unbounded => doc! { "$gte": "" },
    };
    if let Some(upper) = query.upper() {
        bounds.insert("$lt", upper);
    }
    bounds
}

/// Reads a page of rows and the checkpoint from one snapshot.
struct ReadSlice {
    table: Table,
    filter: Document,
    order: Document,
    limit: usize,
}

#[async_trait]
impl TransactionBody for ReadSlice {
    type Output = RowPage;

    fn description(&self) -> String {
        format!("reading rows of {}", self.table.name)
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<RowPage, MongoError> {
        let Self { table, filter, order, limit } = self;
        let by_name = doc! { "_id": &*table.name };
        let checkpoint = match db.checkpoints().find_one(by_name).session(&mut *session).await? {
            Some(found) => to_checkpoint(&found)?.1,
            None => ProjectionCheckpoint::default(),
        };
        let head = db.head().find_one(doc! { "_id": HEAD_ID }).session(&mut *session).await?;
        let head = match head {
            Some(head) => DocumentReader::new(&head, "the head of the log").position("position")?,
            None => Position::START,
        };
        // To MongoDB, a limit of zero means no limit.
        if *limit == 0 {
            return Ok(RowPage { checkpoint, head, rows: Vec::new() });
        }
        let rows = db.table(&table.name);
        let found = rows.find(filter.clone()).sort(order.clone()).batch_size(ONE_REPLY);
        let found = found.limit(i64::try_from(*limit).unwrap_or(i64::MAX)).session(&mut *session).await?;
        let rows = collect_all(found, session).await?;
        let rows = rows.iter().map(|row| to_row(table, row).map(|(_, row)| row)).collect::<Result<_, _>>()?;
        Ok(RowPage { checkpoint, head, rows })
    }
}

/// Writes the rows of tables and their checkpoints in one transaction.
struct ApplyRows {
    tables: Vec<String>,
    /// One update statement per checkpoint.
    checkpoints: RawDocumentBuf,
    rows: Vec<EncodedRows>,
}

/// The changed rows of one table.
struct EncodedRows {
    table: Arc<str>,
    /// Rows to insert.
    new: Vec<RawDocumentBuf>,
    /// Rows to replace, by key.
    replaced: Vec<(String, RawDocumentBuf)>,
    removed: Vec<String>,
}

impl ApplyRows {
    async fn new(writes: Vec<TableWrite>) -> Result<Self, StoreError> {
        let mut moves = RawArrayBuf::new();
        let (mut tables, mut rows) = (Vec::new(), Vec::new());
        for TableWrite { table, from, to, changes } in writes {
            moves.push(move_checkpoint(&table, from, to)?);
            tables.push(table.name.to_string());
            rows.push(EncodedRows::new(&table, changes).await?);
        }
        let mut checkpoints = RawDocumentBuf::new();
        checkpoints.append(cstr!("update"), CHECKPOINTS);
        checkpoints.append(cstr!("updates"), moves);
        Ok(Self { tables, checkpoints, rows })
    }
}

/// A replacement, not an update: the change event then contains the whole checkpoint.
fn move_checkpoint(
    table: &Table,
    from: ProjectionCheckpoint,
    to: ProjectionCheckpoint,
) -> Result<RawDocumentBuf, StoreError> {
    let mut expected = from_checkpoint(&table.name, from);
    expected.insert("clearing", doc! { "$exists": false });
    raw(&doc! { "q": expected, "u": from_checkpoint(&table.name, to) })
}

impl EncodedRows {
    async fn new(table: &Table, changes: Vec<RowChange>) -> Result<Self, StoreError> {
        // The last change to a row wins.
        let changes: HashMap<_, _> = changes.into_iter().map(|change| (change.key.clone(), change)).collect();
        let (new, replaced, removed) = Default::default();
        let mut rows = Self { table: Arc::clone(&table.name), new, replaced, removed };
        for (done, (key, RowChange { row, existed, .. })) in changes.into_iter().enumerate() {
            yield_if_due(done).await;
            match row {
                Some(row) if existed => {
                    let row = from_row(table, &key, &row)?;
                    rows.replaced.push((key, row));
                }
                Some(row) => rows.new.push(from_row(table, &key, &row)?),
                None => rows.removed.push(key),
            }
        }
        Ok(rows)
    }

    async fn write(&self, db: &Db, session: &mut ClientSession) -> Result<(), MongoError> {
        let rows = db.table(&self.table);
        if !self.new.is_empty() {
            rows.insert_many(&self.new).session(&mut *session).await?;
        }
        for chunk in chunks(&self.replaced) {
            let update = replacements(&self.table, chunk);
            let answer = db.handle().run_raw_command(update).session(&mut *session).await?;
            check_write_errors("replacing rows", &answer)?;
        }
        if !self.removed.is_empty() {
            rows.delete_many(doc! { "_id": { "$in": &self.removed } }).session(&mut *session).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl TransactionBody for ApplyRows {
    /// Whether every stored checkpoint was the expected one.
    type Output = bool;

    fn description(&self) -> String {
        format!("writing rows of {}", self.tables.join(", "))
    }

    /// Some of the checkpoints may have been moved.
    fn aborts(all_moved: &bool) -> bool {
        !all_moved
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<bool, MongoError> {
        let answer = db.handle().run_raw_command(self.checkpoints.clone()).session(&mut *session).await?;
        check_write_errors("moving projection checkpoints", &answer)?;
        let moved = answer.get_i32("n").unwrap_or_default();
        if usize::try_from(moved).ok() != Some(self.tables.len()) {
            return Ok(false);
        }
        for rows in &self.rows {
            rows.write(db, session).await?;
        }
        Ok(true)
    }
}

/// Splits replacements into commands; a command, like every document, is limited to 16 MB.
fn chunks(rows: &[(String, RawDocumentBuf)]) -> impl Iterator<Item = &[(String, RawDocumentBuf)]> {
    const MAX_COMMAND_BYTES: usize = 8 * 1024 * 1024;
    let mut bytes = 0;
    rows.chunk_by(move |_, (key, row)| {
        bytes += key.len() + row.as_bytes().len() + 100;
        let fits = bytes < MAX_COMMAND_BYTES;
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
        // Upsert: restores a row that was deleted by hand.
        statement.append(cstr!("upsert"), true);
        statement
    };
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("update"), table);
    command.append(cstr!("updates"), rows.iter().map(statement).collect::<RawArrayBuf>());
    command
}
