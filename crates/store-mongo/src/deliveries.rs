//! Delivery cursors and recent delivery attempts of webhooks. The `_id` of an attempt is `<stream>/<number>`
//! with a 20-digit number, so the attempts of a stream are adjacent and ordered in the primary index.

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocument, doc};
use serde_json::Value;
use store::deliveries::{Attempt, DeliveryProgress, DeliveryStore, MAX_STORED_ATTEMPTS, number_attempts};
use store::key_store::KeyEntry;
use store::{Corruption, StoreError, StreamId, WriteError};

use crate::connection::Db;
use crate::detached::{REQUEST_TIMEOUT, spawn_detached, spawn_with_timeout};
use crate::document_reader::{DocumentReader, raw};
use crate::error::{MongoError, check_write_errors, context};
use crate::find::find;
use crate::key_store::to_key_entry;
use crate::mongo_store::MongoStore;
use crate::transaction::{TransactionBody, inner_error, run_transaction};

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

    async fn record(
        &self,
        stream: &StreamId,
        to: &DeliveryProgress,
        reports: &[Value],
    ) -> Result<(), WriteError> {
        let record = RecordAttempts { stream: stream.clone(), to: to.clone(), reports: reports.to_vec() };
        let db = self.connection.work.clone();
        let recorded =
            spawn_detached(async move { run_transaction(&db, record).await.map_err(inner_error) }).await?;
        if recorded { Ok(()) } else { Err(WriteError::Conflict) }
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
    stream: StreamId,
    to: DeliveryProgress,
    reports: Vec<Value>,
}

#[async_trait]
impl TransactionBody for RecordAttempts {
    /// Whether the expected revision was stored.
    type Output = bool;

    fn description(&self) -> String {
        "recording delivery attempts".to_owned()
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<bool, MongoError> {
        let Self { stream, to, reports } = self;
        let by_id = doc! { "_id": stream.as_str() };
        let stored = db.delivery_progress().find_one(by_id.clone()).session(&mut *session).await?;
        let revision =
            stored.as_deref().map(to_progress).transpose()?.map_or(0, |progress| progress.revision);
        if revision + 1 != to.revision || (revision == 0 && is_erased(db, session, stream).await?) {
            return Ok(false);
        }
        let progress = doc! {
            "_id": stream.as_str(), "revision": number(to.revision), "attempts": number(to.attempts),
            "state": to.state.to_string(),
        };
        db.delivery_progress()
            .replace_one(by_id, raw(&progress)?)
            .upsert(true)
            .session(&mut *session)
            .await?;
        let attempts = number_attempts(to, reports).map(|(number, report)| {
            raw(&doc! { "_id": attempt_id(stream, number), "report": report.to_string() })
        });
        let attempts = attempts.collect::<Result<Vec<_>, _>>()?;
        if !attempts.is_empty() {
            // After a cursor was lost its attempts are still there, and their numbers are used again.
            let last_kept = to.attempts.saturating_sub(u64::try_from(attempts.len()).unwrap_or(u64::MAX));
            let replaced =
                doc! { "_id": { "$gt": attempt_id(stream, last_kept), "$lt": attempt_id(stream, u64::MAX) } };
            db.delivery_attempts().delete_many(replaced).session(&mut *session).await?;
            db.delivery_attempts().insert_many(&attempts).session(&mut *session).await?;
            let dropped = below_number(stream, Some((to.attempts + 1).saturating_sub(MAX_STORED_ATTEMPTS)));
            db.delivery_attempts().delete_many(dropped).session(&mut *session).await?;
        }
        Ok(true)
    }
}

/// Whether the stream was erased. The commit that erases it deletes its cursor, which must not come back.
async fn is_erased(db: &Db, session: &mut ClientSession, stream: &StreamId) -> Result<bool, MongoError> {
    let entry = db.vault().find_one(doc! { "_id": stream.as_str() }).session(&mut *session).await?;
    let entry = entry.as_deref().map(to_key_entry).transpose()?;
    Ok(entry.is_some_and(|(_, (entry, _))| entry == KeyEntry::Erased))
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
