//! Reading documents outside of transactions: as a majority knows them, and never older than what this process has seen.

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf};
use mongodb::error::Error;
use mongodb::options::{FindOptions, Hint};
use store::StoreError;

use crate::connection::Db;
use crate::error::{context, from_driver_error};

/// What to look for.
pub(crate) struct FindRequest {
    pub(crate) filter: Document,
    /// Empty: in any order.
    pub(crate) order: Document,
    pub(crate) limit: usize,
    /// The keys of the index to go by, where the server is not to choose.
    pub(crate) index: Option<Document>,
    /// Only these fields, where not the whole document is wanted.
    pub(crate) fields: Option<Document>,
}

/// Up to `limit` documents, each turned into what it means straight from the server's reply.
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

/// As [`find`], by an index of the caller's choice.
pub(crate) async fn search<T>(
    db: &Db,
    collection: &Collection<RawDocumentBuf>,
    what: &'static str,
    search: FindRequest,
    decode: impl Fn(&RawDocument) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let FindRequest { filter, order, limit, index, fields } = search;
    // To MongoDB a limit of zero is none at all.
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
            found.push(decode(
                document.ok_or_else(|| StoreError::corrupt(format!("{what}: no document came")))?,
            )?);
            yield_if_due(found.len()).await;
        }
    }
    drop(batches);
    db.observe(&session);
    Ok(found)
}

/// Lets others have the thread now and then: to decode or to make thousands of documents takes tens of milliseconds, for
/// which a request would have to wait.
pub(crate) async fn yield_if_due(done: usize) {
    const AT_ONCE: usize = 128;
    if done.is_multiple_of(AT_ONCE) {
        tokio::task::yield_now().await;
    }
}
