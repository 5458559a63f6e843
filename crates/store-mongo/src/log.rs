//! Reads the log with majority reads, and defines the indexes of `events`.

use std::time::Duration;

use mongodb::bson::{Document, RawDocument, doc};
use mongodb::options::ReadConcern;
use store::{Corruption, Envelope, EventQuery, Head, StoreError, StreamId};

use crate::connection::Db;
use crate::error::context;
use crate::event_document::{HEAD_ID, to_event, to_head};
use crate::find::{self, FindRequest, find};

/// How long the server may take to confirm that it still is the primary.
const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The head including every commit that any process acknowledged before this call.
pub(crate) async fn head(db: &Db) -> Result<Head, StoreError> {
    let context = || context("reading the head of the log");
    // Linearizable: a deposed primary that does not know it yet cannot answer with an old head. A
    // linearizable read does not accept a session with a causal token, but later reads must see the events up
    // to this head.
    let mut session = db.session_without_token().await.map_err(context())?;
    let heads = db.head();
    let read = heads.find_one(doc! { "_id": HEAD_ID }).read_concern(ReadConcern::linearizable());
    let found = read.max_time(HEAD_READ_TIMEOUT).session(&mut session).await.map_err(context())?;
    db.observe(&session);
    let found = found.ok_or_else(|| Corruption::missing("the head of the log"))?;
    Ok(to_head(&found)?.0)
}

/// A head no older than what this process has observed.
pub(crate) async fn recent_head(db: &Db) -> Result<Head, StoreError> {
    let head = |document: &RawDocument| to_head(document).map(|(head, _)| head);
    let by_id = doc! { "_id": HEAD_ID };
    let found = find(db, &db.head(), "reading the head of the log", by_id, doc! {}, 1, head).await?;
    found.into_iter().next().ok_or_else(|| Corruption::missing("the head of the log").into())
}

pub(crate) async fn events(db: &Db, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
    // Within a stream, versions and positions have the same order, and versions are indexed.
    let order = if query.stream.is_some() {
        doc! { "version": 1 }
    } else {
        doc! { "_id": 1 }
    };
    let (filter, index) = (event_filter(query), Some(index_for(query)));
    let search = FindRequest { filter, order, limit: query.limit, index, fields: None };
    find::search(db, &db.events(), "reading events", search, to_event).await
}

/// The index that finds the events of a query in order, without sorting.
fn index_for(query: &EventQuery) -> Document {
    match query {
        EventQuery { stream: Some(_), .. } => index_by_stream(),
        EventQuery { actor: Some(_), .. } => index_by_actor(),
        _ if query.has_few_types() => index_by_type(),
        _ => index_by_position(),
    }
}

pub(crate) async fn stream(
    db: &Db,
    stream: &StreamId,
    after: u64,
    limit: usize,
) -> Result<Vec<Envelope>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let filter = doc! { "stream": stream.as_str(), "version": { "$gt": after } };
    find(db, &db.events(), "reading a stream", filter, doc! { "version": 1 }, limit, to_event).await
}

pub(crate) async fn stream_backwards(
    db: &Db,
    stream: &StreamId,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Envelope>, StoreError> {
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let filter = doc! { "stream": stream.as_str(), "version": { "$lt": before } };
    find(db, &db.events(), "reading a stream", filter, doc! { "version": -1 }, limit, to_event).await
}

fn event_filter(query: &EventQuery) -> Document {
    let EventQuery { after, until, limit: _, types, stream, actor } = query;
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
    filter
}

fn index_by_position() -> Document {
    doc! { "_id": 1 }
}

/// Unique: a second line of defence for optimistic concurrency.
pub(crate) fn index_by_stream() -> Document {
    doc! { "stream": 1, "version": -1 }
}

pub(crate) fn index_by_type() -> Document {
    doc! { "type": 1, "_id": 1 }
}

pub(crate) fn index_by_actor() -> Document {
    doc! { "actor": 1, "_id": 1 }
}
