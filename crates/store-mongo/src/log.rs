//! Reading the log back, as a majority knows it.

use std::collections::HashMap;

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::options::FindOptions;
use store::backend::VaultEntry;
use store::{Envelope, EventQuery, Head, StoreError, StreamId};

use crate::connect::Db;
use crate::document::{HEAD_ID, to_event, to_head};
use crate::facts::{names, to_vault};
use crate::failure::{cannot, from_driver};
use crate::fields::date_from;

pub(crate) async fn head(db: &Db) -> Result<Head, StoreError> {
    let found =
        db.head().find_one(doc! { "_id": HEAD_ID }).await.map_err(cannot("reading the head of the log"))?;
    let found = found.ok_or_else(|| StoreError::corrupt("the head of the log is missing"))?;
    Ok(to_head(&found)?.0)
}

pub(crate) async fn events(db: &Db, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
    // Within a stream versions rise as positions do, and an index holds them.
    let order = if query.stream.is_some() {
        doc! { "version": 1 }
    } else {
        doc! { "_id": 1 }
    };
    find(&db.events(), "reading events", event_filter(query), order, query.limit, to_event).await
}

pub(crate) async fn stream(
    db: &Db,
    stream: &StreamId,
    after: u64,
    limit: usize,
) -> Result<Vec<Envelope>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let filter = doc! { "stream": stream.as_str(), "version": { "$gt": after } };
    find(&db.events(), "reading a stream", filter, doc! { "version": 1 }, limit, to_event).await
}

pub(crate) async fn vault(
    db: &Db,
    streams: &[StreamId],
) -> Result<HashMap<StreamId, VaultEntry>, StoreError> {
    let filter = doc! { "_id": { "$in": names(streams) } };
    let entry = |document: &RawDocument| to_vault(document).map(|(stream, (entry, _))| (stream, entry));
    let found = find(&db.vault(), "reading the vault", filter, doc! {}, usize::MAX, entry).await?;
    Ok(found.into_iter().collect())
}

/// Up to `limit` documents, each turned into what it means straight from the server's reply.
pub(crate) async fn find<T>(
    collection: &Collection<RawDocumentBuf>,
    what: &'static str,
    filter: Document,
    order: Document,
    limit: usize,
    decode: impl Fn(&RawDocument) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    // To MongoDB a limit of zero is none at all.
    if limit == 0 {
        return Ok(Vec::new());
    }
    let options = FindOptions::builder()
        .sort((!order.is_empty()).then_some(order))
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .batch_size(u32::try_from(limit).unwrap_or(u32::MAX).min(100_000))
        .build();
    let mut batches = collection.find(filter).with_options(options).batch().await.map_err(cannot(what))?;
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await.map_err(cannot(what))? {
        for document in batch.doc_slices().map_err(cannot(what))? {
            let document = document.map_err(|error| from_driver(what, Error::from(error)))?;
            let document = document.as_document();
            found.push(decode(
                document.ok_or_else(|| StoreError::corrupt(format!("{what}: no document came")))?,
            )?);
        }
    }
    Ok(found)
}

fn event_filter(query: &EventQuery) -> Document {
    let EventQuery { after, until, limit: _, types, stream, actor, from, to } = query;
    let mut position = doc! { "$gt": after.to_i64() };
    if let Some(until) = until {
        position.insert("$lte", until.to_i64());
    }
    let mut filter = doc! { "_id": position };
    if !types.is_empty() {
        filter.insert("type", doc! { "$in": types });
    }
    if let Some(stream) = stream {
        filter.insert("stream", stream.as_str());
    }
    if let Some(actor) = actor {
        filter.insert("actor", actor);
    }
    let mut at = Document::new();
    at.extend(from.map(|from| ("$gte".to_owned(), date_from(from).into())));
    at.extend(to.map(|to| ("$lt".to_owned(), date_from(to).into())));
    if !at.is_empty() {
        filter.insert("at", at);
    }
    filter
}
