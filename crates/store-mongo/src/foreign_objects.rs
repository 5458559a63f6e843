//! Compares the collections of Aegis and their indexes with those that this crate creates. A validator or a
//! unique index rejects writes, a TTL index deletes documents, and a view shows others: with them the
//! database decides what the log and the read models contain.

use futures::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::results::{CollectionSpecification, CollectionType};
use store::{RefusalReason, StoreError};

use crate::connection::{COLLECTIONS, Db};
use crate::error::context;
use crate::log::index_by_stream;

const CHECKING: &str = "checking the collections of Aegis";

/// Refuses foreign views, validators, and indexes that reject or delete documents. Other indexes are only
/// reported: an operator may have reasons for them.
pub(crate) async fn reject_foreign_objects(db: &Db) -> Result<(), StoreError> {
    let mut collections = db.handle().list_collections().await.map_err(context(CHECKING))?;
    while let Some(found) = collections.try_next().await.map_err(context(CHECKING))? {
        if is_ours(&found.name) {
            reject_foreign_options(db, &found)?;
            reject_foreign_indexes(db, &found.name).await?;
        }
    }
    Ok(())
}

/// The collections of the log, the tiles, and the read models: `users_1`.
fn is_ours(name: &str) -> bool {
    let is_read_model = name.rsplit_once('_').is_some_and(|(projection, number)| {
        !projection.is_empty() && !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    COLLECTIONS.contains(&name) || name == "tiles" || is_read_model
}

fn reject_foreign_options(db: &Db, found: &CollectionSpecification) -> Result<(), StoreError> {
    let name = &found.name;
    if found.collection_type != CollectionType::Collection {
        let object = format!("the view or time series `{name}`");
        return Err(refusal(db, object, format!("db.{name}.drop()")));
    }
    let options = &found.options;
    if options.validator.as_ref().is_some_and(|validator| !validator.is_empty()) {
        let removal = format!("db.runCommand({{collMod: \"{name}\", validator: {{}}}})");
        return Err(refusal(db, format!("the validator of the collection `{name}`"), removal));
    }
    if options.capped == Some(true) {
        let object = format!("the size limit of the capped collection `{name}`");
        return Err(refusal(db, object, format!("db.{name}.drop()")));
    }
    Ok(())
}

async fn reject_foreign_indexes(db: &Db, name: &str) -> Result<(), StoreError> {
    let collection = db.handle().collection::<Document>(name);
    let mut indexes = collection.list_indexes().await.map_err(context(CHECKING))?;
    while let Some(index) = indexes.try_next().await.map_err(context(CHECKING))? {
        let options = index.options.clone().unwrap_or_default();
        let index_name = options.name.unwrap_or_default();
        if is_expected(name, &index) {
            continue;
        }
        let (unique, expires) = (options.unique == Some(true), options.expire_after.is_some());
        if unique || expires {
            let kind = if unique { "unique" } else { "TTL" };
            let object = format!("the {kind} index `{index_name}` of the collection `{name}`");
            return Err(refusal(db, object, format!("db.{name}.dropIndex(\"{index_name}\")")));
        }
        if !is_plain(name, &index) {
            tracing::warn!(
                collection = name,
                index = index_name,
                "an index that Aegis has not created slows down every write; drop it unless you need it"
            );
        }
    }
    Ok(())
}

/// The indexes that reject or delete documents by design.
fn is_expected(collection: &str, index: &IndexModel) -> bool {
    let options = index.options.as_ref();
    let unique = options.and_then(|options| options.unique) == Some(true);
    let expires = options.is_some_and(|options| options.expire_after.is_some());
    match collection {
        "events" => unique && !expires && index.keys == index_by_stream(),
        "vault" => unique && !expires && index.keys == doc! { "claims": 1 },
        "idempotency" => !unique && expires && index.keys == doc! { "at": 1 },
        _ => false,
    }
}

/// The other indexes of Aegis: those of keys, of types and actors of events, and of columns of read models.
fn is_plain(collection: &str, index: &IndexModel) -> bool {
    let keys: Vec<_> = index.keys.keys().map(String::as_str).collect();
    match (collection, &keys[..]) {
        (_, ["_id"])
        | ("events", ["type" | "actor", ..])
        | ("sessions", ["stream", "renewed_at"] | ["stream" | "expires_at"]) => true,
        (collection, [_]) => !COLLECTIONS.contains(&collection),
        _ => false,
    }
}

fn refusal(db: &Db, object: String, removal: String) -> StoreError {
    let database = format!("the database `{}`", db.handle().name());
    RefusalReason::ForeignObject { database, object, removal }.into()
}
