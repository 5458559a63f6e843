//! Reads documents outside transactions: majority reads that are causally consistent within this process.

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf};
use mongodb::error::Error;
use mongodb::options::{FindOptions, Hint};
use store::{Corruption, StoreError};

use crate::connection::Db;
use crate::error::{context, from_driver_error};

/// A query with every option.
pub(crate) struct FindRequest {
    pub(crate) filter: Document,
    /// Empty for any order.
    pub(crate) order: Document,
    pub(crate) limit: usize,
    /// The keys of the index to use; `None` lets the server choose.
    pub(crate) index: Option<Document>,
    /// The fields to return; `None` for the whole document.
    pub(crate) fields: Option<Document>,
}

/// Reads up to `limit` documents and decodes each one directly from the server's reply.
pub(crate) async fn find<T>(
    db: &Db,
    collection: &Collection<RawDocumentBuf>,
    what: &'static str,
    filter: Document,
    order: Document,
    limit: usize,
    decode: impl Fn(&RawDocument) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    search(db, collection, what, FindRequest { filter, order, limit, index: None, fields: None }, decode)
        .await
}

/// Like [`find`], with every option.
pub(crate) async fn search<T>(
    db: &Db,
    collection: &Collection<RawDocumentBuf>,
    what: &'static str,
    search: FindRequest,
    decode: impl Fn(&RawDocument) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let FindRequest { filter, order, limit, index, fields } = search;
    // To MongoDB, a limit of zero means no limit.
    if limit == 0 {
        return Ok(Vec::new());
    }
    let options = FindOptions::builder()
        .sort((!order.is_empty()).then_some(order))
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .batch_size(u32::try_from(limit).unwrap_or(u32::MAX).min(100_000))
        .hint(index.map(Hint::Keys))
        .projection(fields)
        .build();
    let mut session = db.session().await.map_err(context(what))?;
    let query = collection.find(filter).with_options(options).session(&mut session);
    let mut cursor = query.batch().await.map_err(context(what))?;
    let mut batches = cursor.stream(&mut session);
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await.map_err(context(what))? {
        for document in batch.doc_slices().map_err(context(what))? {
            let document = document.map_err(|error| from_driver_error(what, Error::from(error)))?;
            let document = document.as_document();
            found.push(decode(document.ok_or_else(|| {
                Corruption::invalid(what, "the server returned something other than a document")
            })?)?);
            yield_if_due(found.len()).await;
        }
    }
    drop(batches);
    db.observe(&session);
    Ok(found)
}

/// Yields to other tasks from time to time: encoding or decoding thousands of documents takes tens of
/// milliseconds.
pub(crate) async fn yield_if_due(done: usize) {
    const DOCUMENTS_PER_TURN: usize = 128;
    if done.is_multiple_of(DOCUMENTS_PER_TURN) {
        tokio::task::yield_now().await;
    }
}
