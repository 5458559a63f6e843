//! The baselines on MongoDB: the same server, the same write concern, collections with the same indexes.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, DatabaseOptions, ReadConcern, SessionOptions, TransactionOptions,
    WriteConcern,
};
use mongodb::{Client, Collection, Database};
use store::Table;

use super::driver::{BATCH, RawDriver, counted, rate};
use crate::error::BenchError;
use crate::registrations::EventRange;
use crate::time_slice::TimeSlice;

/// The collections of the event store that an append of a new user writes to.
const COPIED: [&str; 3] = ["head", "vault", "events"];

pub(crate) struct RawMongo(Database);

impl RawMongo {
    pub(crate) async fn new(url: &str, name: &str) -> Result<Self, BenchError> {
        let client = Client::with_options(ClientOptions::parse(url).await?)?;
        let options = DatabaseOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(write_concern())
            .build();
        let raw = Self(client.database_with_options(name, options));
        for name in COPIED {
            raw.copy_indexes(name).await?;
        }
        Ok(raw)
    }

    /// Creates an empty copy of the collection, with every index that the event store has created on it.
    async fn copy_indexes(&self, name: &str) -> Result<(), BenchError> {
        let indexes: Vec<_> = self.0.collection::<Document>(name).list_indexes().await?.try_collect().await?;
        let own = |index: &mongodb::IndexModel| !index.keys.contains_key("_id");
        let indexes: Vec<_> = indexes.into_iter().filter(own).collect();
        self.0.create_collection(twin_name(name)).await?;
        if !indexes.is_empty() {
            self.0.collection::<Document>(&twin_name(name)).create_indexes(indexes).await?;
        }
        Ok(())
    }

    fn twin(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.0.collection(&twin_name(name))
    }

    async fn events(&self, written: EventRange) -> Result<Vec<RawDocumentBuf>, BenchError> {
        let filter = doc! { "_id": { "$gt": written.after.to_i64(), "$lte": written.until.to_i64() } };
        let events = self.0.collection("events").find(filter).sort(doc! { "_id": 1 }).await?;
        Ok(events.try_collect().await?)
    }

    /// The key-store entry of an event's stream.
    async fn vault_entry(&self, event: &RawDocumentBuf) -> Result<RawDocumentBuf, BenchError> {
        let stream =
            event.get_str("stream").map_err(|error| BenchError::InvalidMeasurement(error.to_string()))?;
        let entry = self.0.collection("vault").find_one(doc! { "_id": stream }).await?;
        entry.ok_or_else(|| BenchError::InvalidMeasurement(format!("{stream} has no key-store entry")))
    }

    /// Writes one append's documents.
    async fn transact(
        &self,
        head: &Document,
        entry: &RawDocumentBuf,
        event: &RawDocumentBuf,
    ) -> Result<(), BenchError> {
        let transaction = TransactionOptions::builder()
            .read_concern(ReadConcern::snapshot())
            .write_concern(write_concern())
            .build();
        let options = SessionOptions::builder().default_transaction_options(transaction).build();
        let mut session = self.0.client().start_session().with_options(options).await?;
        session.start_transaction().await?;
        let heads = self.0.collection::<Document>(&twin_name("head"));
        heads.replace_one(doc! {}, head).upsert(true).session(&mut session).await?;
        self.twin("vault").insert_one(entry).session(&mut session).await?;
        self.twin("events").insert_one(event).session(&mut session).await?;
        Ok(session.commit_transaction().await?)
    }
}

#[async_trait]
impl RawDriver for RawMongo {
    async fn batches(&mut self, written: EventRange, slice: &TimeSlice) -> Result<f64, BenchError> {
        let events = self.events(written).await?;
        let twin = self.twin("events");
        let begun = Instant::now();
        for batch in events.chunks(BATCH) {
            slice.check()?;
            twin.insert_many(batch).await?;
        }
        rate(written, events.len(), begun)
    }

    async fn transactions(
        &mut self,
        written: EventRange,
        slice: &TimeSlice,
    ) -> Result<Vec<Duration>, BenchError> {
        let head = self.0.collection::<Document>("head").find_one(doc! {}).await?;
        let mut head =
            head.ok_or_else(|| BenchError::InvalidMeasurement("the log has no head".to_owned()))?;
        let mut took = Vec::new();
        for event in self.events(written).await? {
            slice.check()?;
            let entry = self.vault_entry(&event).await?;
            // MongoDB does not write a document that is replaced by an equal one.
            head.insert("position", event.get_i64("_id").unwrap_or_default());
            let begun = Instant::now();
            self.transact(&head, &entry, &event).await?;
            took.push(begun.elapsed());
        }
        Ok(took)
    }

    async fn read(&mut self, written: EventRange, slice: &TimeSlice) -> Result<f64, BenchError> {
        slice.check()?;
        let begun = Instant::now();
        rate(written, self.events(written).await?.len(), begun)
    }

    async fn rows(&mut self, table: &Table, slice: &TimeSlice) -> Result<(usize, f64), BenchError> {
        let rows: Vec<RawDocumentBuf> =
            self.0.collection(&table.name).find(doc! {}).await?.try_collect().await?;
        self.copy_indexes(&table.name).await?;
        let twin = self.twin(&table.name);
        let begun = Instant::now();
        for batch in rows.chunks(BATCH) {
            slice.check()?;
            twin.insert_many(batch).await?;
        }
        let counted = counted(rows.len(), begun);
        twin.drop().await?;
        Ok(counted)
    }
}

fn twin_name(name: &str) -> String {
    format!("raw_{name}")
}

/// The write concern of the event store.
fn write_concern() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}
