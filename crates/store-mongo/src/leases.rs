//! Leases for the leader election. They expire by the clock of the database (`$$NOW`), which all nodes share; a
//! lease that would last for longer than a term, left by a primary whose clock was ahead, is free.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::Cursor;
use mongodb::bson::{DateTime, Document, RawDocument, RawDocumentBuf, doc};
use serde_json::Value;
use store::lease::{LEASE_SLACK, Lease, LeaseStore};
use store::{Corruption, StoreError};

use crate::connection::Db;
use crate::detached::{REQUEST_TIMEOUT, spawn_with_timeout};
use crate::document_reader::{DocumentReader, raw};
use crate::error::{MongoError, context};
use crate::mongo_store::{HeldLeases, MongoStore};

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
        let request = Acquisition {
            name: name.to_owned(),
            holder: holder.to_owned(),
            term,
            report: report.to_string(),
        };
        let (db, held) = (self.connection.work.clone(), Arc::clone(&self.held_leases));
        spawn_with_timeout("acquiring a lease", REQUEST_TIMEOUT, async move {
            let was_held = lock(&held).contains(&request.name);
            let lease = request.acquire(&db, was_held).await?;
            if lease.holder == request.holder {
                lock(&held).insert(request.name);
            } else {
                lock(&held).remove(&request.name);
            }
            Ok(lease)
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

fn lock(held: &HeldLeases) -> MutexGuard<'_, BTreeSet<String>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request for a lease.
struct Acquisition {
    name: String,
    holder: String,
    term: Duration,
    report: String,
}

impl Acquisition {
    /// The leader renews by one write; a node on standby only reads.
    async fn acquire(&self, db: &Db, was_held: bool) -> Result<Lease, StoreError> {
        if was_held && let Some(lease) = self.take(db).await? {
            return Ok(lease);
        }
        for _ in 0..MAX_ACQUIRE_ATTEMPTS {
            match read(db, doc! { "_id": &self.name }).await?.pop() {
                Some(held)
                    if held.is_held()
                        && held.holder != self.holder
                        && held.remaining <= self.term + LEASE_SLACK =>
                {
                    return Ok(held);
                }
                Some(_) => {}
                None => create_expired(db, &self.name).await?,
            }
            if let Some(lease) = self.take(db).await? {
                return Ok(lease);
            }
        }
        let what =
            format!("the lease `{}` expires as soon as it is acquired; its term is too short", self.name);
        Err(StoreError::Unavailable { what, source: None })
    }

    /// Takes the lease if this node holds it or it is free.
    async fn take(&self, db: &Db) -> Result<Option<Lease>, StoreError> {
        let after = |time: Duration| {
            doc! { "$add": ["$$NOW", i64::try_from(time.as_millis()).unwrap_or(i64::MAX)] }
        };
        let is_free = doc! { "$or": [
            { "$eq": ["$holder", literal(&self.holder)] },
            { "$lte": ["$until", "$$NOW"] },
            { "$gt": ["$until", after(self.term + LEASE_SLACK)] },
        ] };
        let filter = doc! { "_id": &self.name, "$expr": is_free };
        let taken = doc! { "holder": literal(&self.holder), "until": after(self.term), "report": literal(&self.report) };
        let leases = db.leases();
        let found = leases.find_one_and_update(filter, vec![doc! { "$set": taken }]).await;
        let found = found.map_err(context("acquiring a lease"))?;
        Ok(found.map(|_| Lease {
            name: self.name.clone(),
            holder: self.holder.clone(),
            remaining: self.term,
            report: serde_json::from_str(&self.report).unwrap_or_default(),
        }))
    }
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
