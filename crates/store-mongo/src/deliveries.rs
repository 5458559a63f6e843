//! Delivery cursors and recent delivery attempts of webhooks. The `_id` of an attempt is `<stream>/<number>`
//! with a 20-digit number, so the attempts of a stream are adjacent and ordered in the primary index.

use std::collections::HashMap;

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use serde_json::Value;
use store::deliveries::{
    Attempt, DeliveryProgress, DeliveryRecord, DeliveryStore, MAX_STORED_ATTEMPTS, number_attempts,
};
use store::key_store::KeyEntry;
use store::{Corruption, StoreError, StreamId};

use crate::connection::Db;
use crate::detached::{REQUEST_TIMEOUT, spawn_detached, spawn_with_timeout};
use crate::document_reader::{DocumentReader, raw};
use crate::error::{MongoError, check_write_errors, context};
use crate::find::find;
use crate::key_store::to_key_entry;
use crate::mongo_store::MongoStore;
use crate::transaction::{ONE_REPLY, TransactionBody, collect_all, inner_error, run_transaction};

#[async_trait]
impl DeliveryStore for MongoStore {
    async fn progress(&self, stream: &StreamId) -> Result<Option<DeliveryProgress>, StoreError> {
        let (db, by_id) = (self.connection.work.clone(), doc! { "_id": stream.as_str() });
        spawn_with_timeout("reading a delivery cursor", REQUEST_TIMEOUT, async move {
            let (what, progress) = ("reading a delivery cursor", db.delivery_progress());
            Ok(find(&db, &progress, what, by_id, doc! {}, 1, to_progress).await?.pop())
        })
        .await
    }

    async fn record_all(&self, records: &[DeliveryRecord]) -> Result<Vec<bool>, StoreError> {
        let (db, work) = (self.connection.work.clone(), RecordAttempts { records: records.to_vec() });
        spawn_detached(async move { run_transaction(&db, work).await.map_err(inner_error) }).await
    }

    async fn attempts(
        &self,
        stream: &StreamId,
        below: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Attempt>, StoreError> {
        let (db, filter) = (self.connection.work.clone(), below_number(stream, below));
        spawn_with_timeout("reading delivery attempts", REQUEST_TIMEOUT, async move {
            let (what, attempts) = ("reading delivery attempts", db.delivery_attempts());
            find(&db, &attempts, what, filter, doc! { "_id": -1 }, limit, to_attempt).await
        })
        .await
    }

    async fn forget(&self, stream: &StreamId) -> Result<(), StoreError> {
        let (db, by_id) = (self.connection.work.clone(), doc! { "_id": stream.as_str() });
        let attempts = below_number(stream, None);
        spawn_with_timeout("deleting a delivery cursor", REQUEST_TIMEOUT, async move {
            let what = "deleting a delivery cursor";
            // In this order: without its cursor, a stream accepts no more attempts.
            db.delivery_progress().delete_one(by_id).await.map_err(context(what))?;
            db.delivery_attempts().delete_many(attempts).await.map_err(context(what))?;
            Ok(())
        })
        .await
    }
}

/// Deletes the cursors and the attempts of erased streams, in the transaction that erases them.
pub(crate) async fn delete(
    db: &Db,
    session: &mut ClientSession,
    erased: &[StreamId],
) -> Result<(), MongoError> {
    if erased.is_empty() {
        return Ok(());
    }
    // Written before it is deleted: a concurrent first record of the cursor, which has not seen the erasure,
    // then conflicts with this transaction. Deleting nothing would conflict with nothing.
    let written = erased.iter().map(|stream| {
        let id = doc! { "_id": stream.as_str() };
        doc! { "q": id.clone(), "u": id, "upsert": true }
    });
    let deleted = erased.iter().map(|stream| doc! { "q": { "_id": stream.as_str() }, "limit": 1 });
    let attempts = erased.iter().map(|stream| doc! { "q": below_number(stream, None), "limit": 0 });
    let (progress, of_attempts) = (db.delivery_progress(), db.delivery_attempts());
    for command in [
        doc! { "update": progress.name(), "updates": written.collect::<Vec<_>>() },
        doc! { "delete": progress.name(), "deletes": deleted.collect::<Vec<_>>() },
        doc! { "delete": of_attempts.name(), "deletes": attempts.collect::<Vec<_>>() },
    ] {
        let answer = db.handle().run_command(command).session(&mut *session).await?;
        check_write_errors("deleting delivery cursors", &answer)?;
    }
    Ok(())
}

struct RecordAttempts {
    records: Vec<DeliveryRecord>,
}

#[async_trait]
impl TransactionBody for RecordAttempts {
    /// Whether the expected revision of each was stored.
    type Output = Vec<bool>;

    fn description(&self) -> String {
        "recording delivery attempts".to_owned()
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<Vec<bool>, MongoError> {
        let what = "recording delivery attempts";
        let revisions = self.stored_revisions(db, session).await?;
        let erased = self.erased_streams(db, session, &revisions).await?;
        let is_next = |record: &DeliveryRecord| {
            !erased.contains(&record.stream)
                && revisions.get(record.stream.as_str()).copied().unwrap_or_default() + 1
                    == record.to.revision
        };
        let written: Vec<_> = self.records.iter().map(is_next).collect();
        let records: Vec<_> = self.records.iter().filter(|record| is_next(record)).collect();
        if records.is_empty() {
            return Ok(written);
        }
        let cursors: Vec<_> = records.iter().map(|record| replacement(record)).collect();
        let update = doc! { "update": db.delivery_progress().name(), "updates": cursors };
        let answer = db.handle().run_command(update).session(&mut *session).await?;
        check_write_errors(what, &answer)?;
        let attempts = records.iter().flat_map(|record| new_attempts(record));
        let attempts = attempts.collect::<Result<Vec<_>, _>>()?;
        if !attempts.is_empty() {
            let with_attempts = records.iter().filter(|record| !record.reports.is_empty());
            let outdated: Vec<_> = with_attempts.flat_map(|record| outdated_attempts(record)).collect();
            db.delivery_attempts().delete_many(doc! { "$or": outdated }).session(&mut *session).await?;
            db.delivery_attempts().insert_many(&attempts).session(&mut *session).await?;
        }
        Ok(written)
    }
}

impl RecordAttempts {
    /// Of the streams without a cursor, those that were erased. The commit that erases a stream deletes its cursor,
    /// which must not come back.
    async fn erased_streams(
        &self,
        db: &Db,
        session: &mut ClientSession,
        revisions: &HashMap<String, u64>,
    ) -> Result<Vec<StreamId>, MongoError> {
        let streams = self.records.iter().map(|record| record.stream.as_str());
        let without: Vec<_> = streams.filter(|stream| !revisions.contains_key(*stream)).collect();
        if without.is_empty() {
            return Ok(Vec::new());
        }
        let vault = db.vault();
        let found = vault.find(doc! { "_id": { "$in": without } }).batch_size(ONE_REPLY);
        let found = collect_all(found.session(&mut *session).await?, &mut *session).await?;
        let mut erased = Vec::new();
        for document in found {
            let (stream, (entry, _)) = to_key_entry(&document)?;
            if entry == KeyEntry::Erased {
                erased.push(stream);
            }
        }
        Ok(erased)
    }

    async fn stored_revisions(
        &self,
        db: &Db,
        session: &mut ClientSession,
    ) -> Result<HashMap<String, u64>, MongoError> {
        let streams: Vec<_> = self.records.iter().map(|record| record.stream.as_str()).collect();
        let cursors = db.delivery_progress();
        let query = cursors.find(doc! { "_id": { "$in": streams } }).projection(doc! { "revision": 1 });
        let found = query.batch_size(ONE_REPLY).session(&mut *session).await?;
        let found = collect_all(found, &mut *session).await?;
        let revision = |document: &RawDocumentBuf| {
            let fields = DocumentReader::new(document, "a delivery cursor");
            Ok((fields.text("_id")?.to_owned(), fields.number("revision")?))
        };
        found.iter().map(revision).collect()
    }
}

/// The statement that replaces a cursor.
fn replacement(DeliveryRecord { stream, to, .. }: &DeliveryRecord) -> Document {
    let progress = doc! {
        "_id": stream.as_str(), "revision": number(to.revision), "attempts": number(to.attempts),
        "state": to.state.to_string(),
    };
    doc! { "q": { "_id": stream.as_str() }, "u": progress, "upsert": true }
}

/// The attempts to insert: of more than are kept, the last.
fn new_attempts(
    DeliveryRecord { stream, to, reports }: &DeliveryRecord,
) -> impl Iterator<Item = Result<RawDocumentBuf, MongoError>> {
    let kept = number_attempts(to, reports).filter(|(number, _)| number + MAX_STORED_ATTEMPTS > to.attempts);
    kept.map(|(number, report)| {
        Ok(raw(&doc! { "_id": attempt_id(stream, number), "report": report.to_string() })?)
    })
}

/// The attempts to delete: those that are too old, and those whose numbers are used again, because the cursor
/// was lost.
fn outdated_attempts(DeliveryRecord { stream, to, reports }: &DeliveryRecord) -> [Document; 2] {
    let last_kept = to.attempts.saturating_sub(u64::try_from(reports.len()).unwrap_or(u64::MAX));
    let used_again =
        doc! { "_id": { "$gt": attempt_id(stream, last_kept), "$lt": attempt_id(stream, u64::MAX) } };
    let too_old = below_number(stream, Some((to.attempts + 1).saturating_sub(MAX_STORED_ATTEMPTS)));
    [used_again, too_old]
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn attempt_id(stream: &StreamId, number: u64) -> String {
    format!("{stream}/{number:020}")
}

/// The attempts of a stream below a number.
fn below_number(stream: &StreamId, below: Option<u64>) -> Document {
    doc! { "_id": { "$gte": attempt_id(stream, 0), "$lt": attempt_id(stream, below.unwrap_or(u64::MAX)) } }
}

fn to_progress(document: &RawDocument) -> Result<DeliveryProgress, StoreError> {
    let fields = DocumentReader::new(document, "a delivery cursor");
    let state = parse(fields.text("state")?)?;
    Ok(DeliveryProgress { revision: fields.number("revision")?, attempts: fields.number("attempts")?, state })
}

fn to_attempt(document: &RawDocument) -> Result<Attempt, StoreError> {
    let fields = DocumentReader::new(document, "a delivery attempt");
    let number = fields.text("_id")?.rsplit_once('/').and_then(|(_, number)| number.parse().ok());
    let number = number.ok_or_else(|| fields.invalid("_id", "an attempt number"))?;
    Ok(Attempt { number, report: parse(fields.text("report")?)? })
}

fn parse(json: &str) -> Result<Value, StoreError> {
    serde_json::from_str(json).map_err(|error| Corruption::invalid("a webhook delivery record", error).into())
}
