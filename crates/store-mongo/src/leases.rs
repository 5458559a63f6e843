//! Leases, by the clock of the database: `$$NOW` is the same for all who ask the primary.

use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::Cursor;
use mongodb::bson::{DateTime, Document, RawDocument, RawDocumentBuf, doc};
use serde_json::Value;
use store::StoreError;
use store::lease::{Lease, Leases};

use crate::MongoStore;
use crate::connect::Db;
use crate::failure::{Failure, cannot};
use crate::fields::{Fields, raw};
use crate::shield::{SHORT, answered};

/// How often it is tried to take one that somebody else takes at the same time.
const ATTEMPTS: u32 = 5;

#[async_trait]
impl Leases for MongoStore {
    async fn lease(
        &self,
        name: &str,
        holder: &str,
        term: Duration,
        report: &Value,
    ) -> Result<Lease, StoreError> {
        let (db, name, holder) = (self.connection.work.clone(), name.to_owned(), holder.to_owned());
        let report = report.to_string();
        answered("taking a lease", SHORT, async move { take(&db, &name, &holder, term, &report).await }).await
    }

    async fn release(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError> {
        let (db, mine) = (self.connection.work.clone(), doc! { "_id": name, "holder": holder });
        let given_back = vec![doc! { "$set": { "until": "$$NOW", "report": literal(&report.to_string()) } }];
        answered("giving a lease back", SHORT, async move {
            db.leases().update_one(mine, given_back).await.map_err(cannot("giving a lease back"))?;
            Ok(())
        })
        .await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let db = self.connection.work.clone();
        answered("reading leases", SHORT, async move { read(&db, doc! {}).await }).await
    }
}

/// A text that is no expression, whatever it begins with.
fn literal(text: &str) -> Document {
    doc! { "$literal": text }
}

/// Looks first: those who stand by should not write.
async fn take(db: &Db, name: &str, holder: &str, term: Duration, report: &str) -> Result<Lease, StoreError> {
    for _ in 0..ATTEMPTS {
        let held = read(db, doc! { "_id": name }).await?.pop();
        match held {
            Some(held) if held.is_held() && held.holder != holder => return Ok(held),
            Some(_) => {}
            None => make(db, name).await?,
        }
        let free = doc! { "$or": [{ "holder": holder }, { "$expr": { "$lte": ["$until", "$$NOW"] } }] };
        let mut mine = doc! { "_id": name };
        mine.extend(free);
        let until = doc! { "$add": ["$$NOW", i64::try_from(term.as_millis()).unwrap_or(i64::MAX)] };
        let taken = doc! { "holder": literal(holder), "until": until, "report": literal(report) };
        db.leases().update_one(mine, vec![doc! { "$set": taken }]).await.map_err(cannot("taking a lease"))?;
        let held = read(db, doc! { "_id": name }).await?.pop();
        if let Some(held) = held.filter(Lease::is_held) {
            return Ok(held);
        }
    }
    let what = format!("the lease `{name}` runs out as soon as it is taken");
    Err(StoreError::Unavailable { what, source: None })
}

/// Makes a lease that nobody has ever had.
async fn make(db: &Db, name: &str) -> Result<(), StoreError> {
    let free = doc! { "_id": name, "holder": "", "until": DateTime::from_millis(0), "report": "null" };
    match db.leases().insert_one(raw(&free)?).await.map_err(Failure::from) {
        // Two have made it at once: now it is there.
        Ok(_) | Err(Failure::Duplicate(_)) => Ok(()),
        Err(failure) => Err(failure.into_store("making a lease")),
    }
}

async fn read(db: &Db, filter: Document) -> Result<Vec<Lease>, StoreError> {
    let pipeline = [doc! { "$match": filter }, doc! { "$sort": { "_id": 1 } }, with_left()];
    let found = db.leases().aggregate(pipeline).with_type().await;
    let found: Cursor<RawDocumentBuf> = found.map_err(cannot("reading leases"))?;
    let found: Vec<_> = found.try_collect().await.map_err(cannot("reading leases"))?;
    found.iter().map(|lease| to_lease(lease)).collect()
}

/// Says of each lease how many milliseconds are left.
fn with_left() -> Document {
    doc! { "$set": { "left": { "$max": [0, { "$subtract": ["$until", "$$NOW"] }] } } }
}

fn to_lease(document: &RawDocument) -> Result<Lease, StoreError> {
    let name = Fields::new(document, "a lease").text("_id")?.to_owned();
    let what = format!("the lease `{name}`");
    let fields = Fields::new(document, &what);
    let report: Value = serde_json::from_str(fields.text("report")?)
        .map_err(|error| StoreError::corrupt(format!("{what}: its report cannot be read: {error}")))?;
    let left = Duration::from_millis(fields.number("left")?);
    Ok(Lease { holder: fields.text("holder")?.to_owned(), left, report, name })
}
