//! Leases for the leader election. They expire by the clock of the database (`$$NOW`), which all nodes share.

use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::Cursor;
use mongodb::bson::{DateTime, Document, RawDocument, RawDocumentBuf, doc};
use serde_json::Value;
use store::lease::{Lease, LeaseStore};
use store::{Corruption, StoreError};

use crate::connection::Db;
use crate::detached::{REQUEST_TIMEOUT, spawn_with_timeout};
use crate::document_reader::{DocumentReader, raw};
use crate::error::{MongoError, context};
use crate::mongo_store::MongoStore;

/// How often acquiring is retried while other nodes acquire the lease at the same time.
const MAX_ACQUIRE_ATTEMPTS: u32 = 5;

#[async_trait]
impl LeaseStore for MongoStore {
    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        term: Duration,
        report: &Value,
    ) -> Result<Lease, StoreError> {
        let (db, name, holder) = (self.connection.work.clone(), name.to_owned(), holder.to_owned());
        let report = report.to_string();
        spawn_with_timeout("acquiring a lease", REQUEST_TIMEOUT, async move {
            acquire(&db, &name, &holder, term, &report).await
        })
        .await
    }

    async fn release_lease(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError> {
        let (db, mine) = (self.connection.work.clone(), doc! { "_id": name, "holder": holder });
        let released = vec![doc! { "$set": { "until": "$$NOW", "report": literal(&report.to_string()) } }];
        spawn_with_timeout("releasing a lease", REQUEST_TIMEOUT, async move {
            db.leases().update_one(mine, released).await.map_err(context("releasing a lease"))?;
            Ok(())
        })
        .await
    }

    async fn list_leases(&self) -> Result<Vec<Lease>, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout("reading leases", REQUEST_TIMEOUT, async move { read(&db, doc! {}).await }).await
    }
}

/// A text that is not evaluated as an expression, even if it starts with `$`.
fn literal(text: &str) -> Document {
    doc! { "$literal": text }
}

/// Reads before it writes, so that nodes on standby do not write.
async fn acquire(
    db: &Db,
    name: &str,
    holder: &str,
    term: Duration,
    report: &str,
) -> Result<Lease, StoreError> {
    for _ in 0..MAX_ACQUIRE_ATTEMPTS {
        let held = read(db, doc! { "_id": name }).await?.pop();
        match held {
            Some(held) if held.is_held() && held.holder != holder => return Ok(held),
            Some(_) => {}
            None => create_expired(db, name).await?,
        }
        let free = doc! { "$or": [{ "holder": holder }, { "$expr": { "$lte": ["$until", "$$NOW"] } }] };
        let mut mine = doc! { "_id": name };
        mine.extend(free);
        let until = doc! { "$add": ["$$NOW", i64::try_from(term.as_millis()).unwrap_or(i64::MAX)] };
        let taken = doc! { "holder": literal(holder), "until": until, "report": literal(report) };
        db.leases()
            .update_one(mine, vec![doc! { "$set": taken }])
            .await
            .map_err(context("acquiring a lease"))?;
        let held = read(db, doc! { "_id": name }).await?.pop();
        if let Some(held) = held.filter(Lease::is_held) {
            return Ok(held);
        }
    }
    let what = format!("the lease `{name}` expires as soon as it is acquired; its term is too short");
    Err(StoreError::Unavailable { what, source: None })
}

/// Creates a lease that has no holder yet.
async fn create_expired(db: &Db, name: &str) -> Result<(), StoreError> {
    let free = doc! { "_id": name, "holder": "", "until": DateTime::from_millis(0), "report": "null" };
    match db.leases().insert_one(raw(&free)?).await.map_err(MongoError::from) {
        // Another node created it at the same time.
        Ok(_) | Err(MongoError::DuplicateKey(_)) => Ok(()),
        Err(failure) => Err(failure.into_store_error("creating a lease")),
    }
}

async fn read(db: &Db, filter: Document) -> Result<Vec<Lease>, StoreError> {
    let pipeline = [doc! { "$match": filter }, doc! { "$sort": { "_id": 1 } }, add_time_left()];
    let found = db.leases().aggregate(pipeline).with_type().await;
    let found: Cursor<RawDocumentBuf> = found.map_err(context("reading leases"))?;
    let found: Vec<_> = found.try_collect().await.map_err(context("reading leases"))?;
    found.iter().map(|lease| to_lease(lease)).collect()
}

/// Adds the milliseconds until expiry to each lease.
fn add_time_left() -> Document {
    doc! { "$set": { "left": { "$max": [0, { "$subtract": ["$until", "$$NOW"] }] } } }
}

fn to_lease(document: &RawDocument) -> Result<Lease, StoreError> {
    let name = DocumentReader::new(document, "a lease").text("_id")?.to_owned();
    let what = format!("the lease `{name}`");
    let fields = DocumentReader::new(document, &what);
    let report: Value =
        serde_json::from_str(fields.text("report")?).map_err(|error| Corruption::invalid(&*what, error))?;
    let left = Duration::from_millis(fields.number("left")?);
    Ok(Lease { holder: fields.text("holder")?.to_owned(), remaining: left, report, name })
}
