//! Read models: rows in a collection each, their checkpoints in `projections`.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::raw::cstr;
use mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, doc};
use store::{ApplyError, Change, Checkpoint, Pair, Position, ReadModels, Row, StoreError, Table};

use crate::MongoStore;
use crate::clearing::{begin_clearing, finish_clearing};
use crate::connect::Db;
use crate::facts::ONE_REPLY;
use crate::failure::{Failure, check_statements};
use crate::fields::raw;
use crate::find::find;
use crate::preparing::{checkpoint, prepare};
use crate::row_document::{field, from_checkpoint, from_row, ids, to_row};
use crate::shield::{SHORT, answered, shielded};
use crate::switching::Switch;
use crate::transaction::{Work, all, reason, transact};

/// The most rows that [`ReadModels::find`] gives.
const FOUND: usize = 100;

#[async_trait]
impl ReadModels for MongoStore {
    async fn prepare(&self, table: &'static Table) -> Result<(), StoreError> {
        let db = self.connection.work.clone();
        let checkpoint = shielded(async move { prepare(&db, table).await }).await?;
        self.board.rely_on(table.name);
        self.board.raise_checkpoint(table.name, checkpoint);
        Ok(())
    }

    async fn checkpoint(&self, table: &'static Table) -> Result<Checkpoint, StoreError> {
        let db = self.connection.work.clone();
        let read = async move { checkpoint(&db, table.name).await };
        match answered("reading a checkpoint", SHORT, read).await? {
            Some((checkpoint, _)) => Ok(checkpoint),
            None if self.board.relies_on(table.name) => Err(StoreError::gone("projections")),
            None => Ok(Checkpoint::default()),
        }
    }

    async fn rows(&self, table: &'static Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let filter = doc! { "_id": { "$in": keys } };
        Ok(self.select(table, filter, doc! {}, usize::MAX).await?.into_iter().collect())
    }

    async fn find(
        &self,
        table: &'static Table,
        column: &'static str,
        text: &str,
    ) -> Result<Vec<Row>, StoreError> {
        let mut filter = Document::new();
        filter.insert(field(table, column), text);
        let found = self.select(table, filter, doc! { "_id": 1 }, FOUND).await?;
        Ok(found.into_iter().map(|(_, row)| row).collect())
    }

    async fn page(
        &self,
        table: &'static Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let filter = after.map_or_else(Document::new, |after| doc! { "_id": { "$gt": after } });
        let found = self.select(table, filter, doc! { "_id": 1 }, limit).await?;
        Ok(found.into_iter().map(|(_, row)| row).collect())
    }

    async fn apply(
        &self,
        table: &'static Table,
        from: Checkpoint,
        to: Position,
        changes: Vec<Change>,
    ) -> Result<(), ApplyError> {
        let moved = Checkpoint { position: to, ..from };
        let rows = Rows::new(table, from, moved, changes)?;
        match transact(&self.connection.work, rows).await {
            Ok(true) => self.board.raise_checkpoint(table.name, moved),
            Ok(false) => return Err(ApplyError::Overtaken),
            Err(error) => return Err(reason(error).into()),
        }
        Ok(())
    }

    async fn switches(&self, pair: &'static Pair) -> Result<u64, StoreError> {
        let db = self.connection.work.clone();
        let read = async move { checkpoint(&db, pair.name).await };
        let entry = answered("reading which table is live", SHORT, read).await?;
        let entry = entry.map(|(entry, _)| entry).unwrap_or_default();
        self.board.raise_checkpoint(pair.name, entry);
        Ok(entry.rebuilds)
    }

    async fn reset(&self, pair: &'static Pair, switches: u64) -> Result<Checkpoint, ApplyError> {
        let (db, table) = (self.connection.work.clone(), pair.idle(switches));
        let begun = shielded(async move { begin_clearing(&db, pair, switches).await }).await?;
        let emptied = begun.ok_or(ApplyError::Overtaken)?;
        self.board.raise_checkpoint(table.name, emptied);
        let db = self.connection.work.clone();
        shielded(async move { finish_clearing(&db, table, emptied).await }).await?;
        Ok(emptied)
    }

    async fn switch(&self, pair: &'static Pair, switches: u64) -> Result<(), ApplyError> {
        match transact(&self.connection.work, Switch { pair, switches }).await {
            Ok(Some(entry)) => self.board.raise_checkpoint(pair.name, entry),
            Ok(None) => return Err(ApplyError::Overtaken),
            Err(error) => return Err(reason(error).into()),
        }
        Ok(())
    }
}

impl MongoStore {
    async fn select(
        &self,
        table: &'static Table,
        filter: Document,
        order: Document,
        limit: usize,
    ) -> Result<Vec<(String, Row)>, StoreError> {
        let db = self.connection.work.clone();
        answered("reading rows", SHORT, async move {
            find(&db, &db.table(table.name), "reading rows", filter, order, limit, |document| {
                to_row(table, document)
            })
            .await
        })
        .await
    }
}

/// Rows to write together with their checkpoint.
struct Rows {
    table: &'static Table,
    from: Checkpoint,
    moved: RawDocumentBuf,
    /// The rows to write, by their keys.
    written: Vec<(String, RawDocumentBuf)>,
    removed: Vec<String>,
}

impl Rows {
    fn new(
        table: &'static Table,
        from: Checkpoint,
        moved: Checkpoint,
        changes: Vec<Change>,
    ) -> Result<Self, StoreError> {
        // Of several changes to one row the last counts.
        let changes: HashMap<_, _> = changes.into_iter().map(|Change { key, row }| (key, row)).collect();
        let (mut written, mut removed) = (Vec::new(), Vec::new());
        for (key, row) in changes {
            match row {
                Some(row) => written.push((key.clone(), from_row(table, &key, &row)?)),
                None => removed.push(key),
            }
        }
        Ok(Self { table, from, moved: raw(&from_checkpoint(table.name, moved))?, written, removed })
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
        let mut believed = from_checkpoint(self.table.name, self.from);
        believed.insert("clearing", doc! { "$exists": false });
        // Replaced, not updated: the change stream then carries the new checkpoint whole.
        let moved = db.projections().replace_one(believed, &self.moved).session(&mut *session).await?;
        if moved.matched_count == 0 {
            return Ok(false);
        }
        let rows = db.table(self.table.name);
        self.write(db, session).await?;
        if !self.removed.is_empty() {
            rows.delete_many(doc! { "_id": { "$in": &self.removed } }).session(&mut *session).await?;
        }
        Ok(true)
    }
}

impl Rows {
    /// Inserts the rows that are new and replaces the others, so that a rebuild is made of plain inserts.
    async fn write(&self, db: &Db, session: &mut ClientSession) -> Result<(), Failure> {
        let rows = db.table(self.table.name);
        let keys: Vec<_> = self.written.iter().map(|(key, _)| key.as_str()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let known =
            rows.find(doc! { "_id": { "$in": keys } }).projection(doc! { "_id": 1 }).batch_size(ONE_REPLY);
        let known = known.session(&mut *session).await?;
        let known: HashSet<_> = ids(&all(known, session).await?);
        let (old, new): (Vec<_>, Vec<_>) = self.written.iter().partition(|(key, _)| known.contains(key));
        if !new.is_empty() {
            rows.insert_many(new.into_iter().map(|(_, row)| row)).session(&mut *session).await?;
        }
        for chunk in chunks(&old) {
            let update = replacements(self.table.name, chunk);
            let answer = db.handle().run_raw_command(update).session(&mut *session).await?;
            check_statements("replacing rows", &answer)?;
        }
        Ok(())
    }
}

/// Replacements that fit into one command, which like every document may have 16 MB.
fn chunks<'a>(
    rows: &'a [&'a (String, RawDocumentBuf)],
) -> impl Iterator<Item = &'a [&'a (String, RawDocumentBuf)]> {
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

fn replacements(table: &str, rows: &[&(String, RawDocumentBuf)]) -> RawDocumentBuf {
    let statement = |(key, row): &&(String, RawDocumentBuf)| {
        let mut query = RawDocumentBuf::new();
        query.append(cstr!("_id"), key.as_str());
        let mut statement = RawDocumentBuf::new();
        statement.append(cstr!("q"), query);
        statement.append(cstr!("u"), row);
        statement
    };
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("update"), table);
    command.append(cstr!("updates"), rows.iter().map(statement).collect::<RawArrayBuf>());
    command
}
