//! Creates what is missing in the database: collections, indexes and the genesis of the log.

use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use mongodb::error::ErrorKind;
use mongodb::options::IndexOptions;
use mongodb::{ClientSession, IndexModel};
use store::backend::{FIRST_EPOCH, FORMAT, Genesis};
use store::idempotency::RETENTION;
use store::key_store::ClaimBackfill;
use store::rotation::{CLAIMS, SIGNING};
use store::{Corruption, Head, Position, RefusalReason, StoreError, StreamId, WriteError};

use crate::connection::{COLLECTIONS, Connection, Db};
use crate::document_reader::{DocumentReader, binary, raw, timestamp, uuid};
use crate::error::{MongoError, context, from_driver_error};
use crate::event_document::from_head;
use crate::foreign_objects::reject_foreign_objects;
use crate::key_store::service_keys;
use crate::log::{index_by_actor, index_by_stream, index_by_type};
use crate::transaction::{TransactionBody, inner_error, run_transaction};

/// How long the start waits for the transactions that an index is dropped after.
const INDEX_DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// The `_id` of the single document in `meta`.
const META_ID: &str = "log";

/// The document of `meta`, in messages.
const META: &str = "the description of the log";
/// The field of `meta` with the epoch of the log.
const EPOCH: &str = "epoch";
/// The field of `meta` with how far claims have been backfilled.
const CLAIM_BACKFILL: &str = "claim_backfill";

/// Whether there is a log. Fails if its format is newer than this version supports.
pub(crate) async fn exists(connection: &Connection) -> Result<bool, StoreError> {
    check_server(connection).await?;
    Ok(read_format(&connection.work).await?.is_some())
}

/// Creates what is missing and returns the stored genesis.
pub(crate) async fn migrate(connection: &Connection, genesis: &Genesis) -> Result<Genesis, StoreError> {
    check_server(connection).await?;
    let db = &connection.work;
    if read_format(db).await?.is_none() {
        reject_foreign_events(db).await?;
    }
    reject_foreign_objects(db).await?;
    create_schema(db).await?;
    run_transaction(db, WriteGenesis(genesis.clone())).await.map_err(inner_error)?;
    read_genesis(db).await
}

/// Creates a collection unless it exists; returns whether it was created.
pub(crate) async fn create_collection(db: &Db, name: &str) -> Result<bool, StoreError> {
    match db.handle().create_collection(name).await.map_err(MongoError::from) {
        Ok(()) => Ok(true),
        Err(failure) if failure.is_existing_collection() => Ok(false),
        Err(failure) => Err(failure.into_store_error("creating a collection")),
    }
}

/// Requires a replica set. A standalone server has no transactions; a sharded cluster has, but nothing here
/// was ever run on one.
async fn check_server(connection: &Connection) -> Result<(), StoreError> {
    let admin = connection.work.handle().client().database("admin");
    match admin.run_command(doc! { "hello": 1 }).await {
        Ok(hello) => {
            if let Some(time) = hello.get_datetime("localTime").ok().and_then(|time| timestamp(*time)) {
                connection.work.clock().observe(time);
            }
            check_topology(&connection.hosts, &hello)
        }
        Err(error) => {
            // The driver silently skips a server that is not of the kind the URL asks for.
            let skipped_server = match *error.kind {
                ErrorKind::ServerSelection { .. } => connection.hello_from_first_host().await,
                _ => None,
            };
            skipped_server.map_or(Ok(()), |hello| check_topology(&connection.hosts, &hello))?;
            Err(from_driver_error("connecting to MongoDB", error))
        }
    }
}

fn check_topology(hosts: &str, hello: &Document) -> Result<(), StoreError> {
    if hello.get_str("msg").is_ok_and(|kind| kind == "isdbgrid") {
        Err(RefusalReason::ShardedCluster { hosts: hosts.to_owned() }.into())
    } else if hello.contains_key("setName") {
        Ok(())
    } else if hello.get_bool("isreplicaset").unwrap_or(false) {
        let what = format!(
            "MongoDB at {hosts} is a replica set member without a configuration yet; run once: \
             mongosh --host {hosts} --eval 'rs.initiate()'"
        );
        Err(StoreError::Unavailable { what, source: None })
    } else {
        Err(RefusalReason::StandaloneServer { hosts: hosts.to_owned() }.into())
    }
}

async fn read_format(db: &Db) -> Result<Option<u32>, StoreError> {
    let meta = db
        .meta()
        .find_one(doc! { "_id": META_ID })
        .await
        .map_err(context("reading the format of the log"))?;
    meta.as_deref().map(check_format).transpose()
}

fn check_format(meta: &RawDocument) -> Result<u32, StoreError> {
    let format = DocumentReader::new(meta, META).number("format")?;
    if format <= FORMAT {
        return Ok(format);
    }
    Err(RefusalReason::NewerFormat { database: "the database".to_owned(), found: format, supported: FORMAT }
        .into())
}

async fn reject_foreign_events(db: &Db) -> Result<(), StoreError> {
    let event = db.events().find_one(doc! {}).await.map_err(context("checking for foreign events"))?;
    if event.is_none() {
        return Ok(());
    }
    Err(RefusalReason::MissingMeta { database: format!("the database `{}`", db.handle().name()) }.into())
}

/// Collections and indexes are created here, never in a transaction: creating them aborts running
/// transactions, and a transaction that writes to a missing collection may time out.
async fn create_schema(db: &Db) -> Result<(), StoreError> {
    for name in COLLECTIONS {
        create_collection(db, name).await?;
    }
    let unique = IndexOptions::builder().unique(true).build();
    let by_stream = IndexModel::builder().keys(index_by_stream()).options(unique).build();
    db.events().create_index(by_stream).await.map_err(context("creating the index of streams"))?;
    let filters = [index_by_type(), index_by_actor()].map(|keys| IndexModel::builder().keys(keys).build());
    db.events().create_indexes(filters).await.map_err(context("creating the indexes of types and actors"))?;
    // Sparse: otherwise a unique index admits only one document without the field.
    let sparse = IndexOptions::builder().unique(true).sparse(true).build();
    let by_claim = IndexModel::builder().keys(doc! { "claims": 1 }).options(sparse).build();
    db.vault().create_index(by_claim).await.map_err(context("creating the index of claims"))?;
    let of_sessions = [doc! { "stream": 1, "renewed_at": 1 }, doc! { "expires_at": 1 }];
    let of_sessions = of_sessions.map(|keys| IndexModel::builder().keys(keys).build());
    db.sessions().create_indexes(of_sessions).await.map_err(context("creating the indexes of sessions"))?;
    drop_replaced_index(db).await?;
    let ttl = IndexOptions::builder().expire_after(RETENTION.unsigned_abs()).build();
    let by_time = IndexModel::builder().keys(doc! { "at": 1 }).options(ttl).build();
    db.idempotency()
        .create_index(by_time)
        .await
        .map_err(context("creating the index of recorded results"))?;
    Ok(())
}

/// Drops the index of sessions by stream alone, which an earlier version has created. The next start tries again: the
/// drop waits for transactions, which a killed process may have left open.
async fn drop_replaced_index(db: &Db) -> Result<(), StoreError> {
    const REPLACED: &str = "stream_1";
    let names = db.sessions().list_index_names().await.map_err(context("listing the indexes of sessions"))?;
    if names.iter().any(|name| name == REPLACED)
        && let Err(error) = db.sessions().drop_index(REPLACED).max_time(INDEX_DROP_TIMEOUT).await
    {
        tracing::debug!(%error, "a replaced index of sessions was not dropped");
    }
    Ok(())
}

/// Writes the genesis unless there is one. Of several concurrent processes one writes it; the others get a
/// write conflict, retry and find it.
struct WriteGenesis(Genesis);

#[async_trait]
impl TransactionBody for WriteGenesis {
    type Output = ();

    fn description(&self) -> String {
        "writing the genesis of the log".to_owned()
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<(), MongoError> {
        if db.meta().find_one(doc! { "_id": META_ID }).session(&mut *session).await?.is_some() {
            return Ok(());
        }
        let Genesis { format, log_id, claim_key, signing_key } = &self.0;
        let meta = doc! { "_id": META_ID, "format": i64::from(*format), "log_id": uuid(*log_id) };
        db.meta().insert_one(raw(&meta)?).session(&mut *session).await?;
        let key = |name: &str, wrapped: &[u8]| raw(&doc! { "_id": name, "key": binary(wrapped) });
        let keys = [key(CLAIMS, claim_key)?, key(SIGNING, signing_key)?];
        db.keys().insert_many(&keys).session(&mut *session).await?;
        db.head().insert_one(from_head(&Head::default(), 0)).session(&mut *session).await?;
        Ok(())
    }
}

async fn read_genesis(db: &Db) -> Result<Genesis, StoreError> {
    let meta = read_meta(db, "reading the format of the log").await?;
    let mut keys = service_keys(db).await?;
    let mut key = |name: &str| {
        keys.remove(name).ok_or_else(|| Corruption::missing(format!("the service key `{name}`")))
    };
    Ok(Genesis {
        format: check_format(&meta)?,
        log_id: DocumentReader::new(&meta, META).uuid("log_id")?,
        claim_key: key(CLAIMS)?,
        signing_key: key(SIGNING)?,
    })
}

pub(crate) async fn read_epoch(db: &Db) -> Result<u64, StoreError> {
    let meta = read_meta(db, "reading the epoch of the log").await?;
    let fields = DocumentReader::new(&meta, META);
    if fields.optional(EPOCH)?.is_some() { fields.number(EPOCH) } else { Ok(FIRST_EPOCH) }
}

pub(crate) async fn write_epoch(db: &Db, epoch: u64) -> Result<(), StoreError> {
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
    let set = doc! { "$set": { EPOCH: epoch } };
    let updated = db.meta().update_one(doc! { "_id": META_ID }, set).await;
    updated.map_err(context("writing the epoch of the log"))?;
    Ok(())
}

pub(crate) async fn read_claim_backfill(db: &Db) -> Result<Option<ClaimBackfill>, StoreError> {
    let meta = read_meta(db, "reading how far claims were backfilled").await?;
    let fields = DocumentReader::new(&meta, META);
    if fields.optional(CLAIM_BACKFILL)?.is_none() {
        return Ok(None);
    }
    let stored = fields.get(CLAIM_BACKFILL, "a document", RawBsonRef::as_document)?;
    let fields = DocumentReader::new(stored, META);
    let collisions = fields.get("collisions", "a list of streams", |value| {
        let stream = |value: RawBsonRef<'_>| StreamId::new(value.as_str()?).ok();
        value.as_array()?.into_iter().map(|value| stream(value.ok()?)).collect()
    })?;
    Ok(Some(ClaimBackfill {
        rules: fields.number("rules")?,
        position: Position::new(fields.number("position")?),
        replace_until: Position::new(fields.number("replace_until")?),
        collisions,
    }))
}

pub(crate) async fn write_claim_backfill(
    db: &Db,
    from: Option<&ClaimBackfill>,
    to: &ClaimBackfill,
) -> Result<(), WriteError> {
    let held = from.map_or_else(|| doc! { "$exists": false }.into(), |from| Bson::from(claim_backfill(from)));
    let set = doc! { "$set": { CLAIM_BACKFILL: claim_backfill(to) } };
    let updated = db.meta().update_one(doc! { "_id": META_ID, CLAIM_BACKFILL: held }, set).await;
    let updated = updated.map_err(context("writing how far claims were backfilled"))?;
    if updated.matched_count == 1 { Ok(()) } else { Err(WriteError::Conflict) }
}

fn claim_backfill(reached: &ClaimBackfill) -> Document {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let ClaimBackfill { rules, position, replace_until, collisions } = reached;
    let collisions: Vec<_> = collisions.iter().map(StreamId::as_str).collect();
    doc! { "rules": number(*rules), "position": number(position.get()),
    "replace_until": number(replace_until.get()), "collisions": collisions }
}

async fn read_meta(db: &Db, what: &'static str) -> Result<RawDocumentBuf, StoreError> {
    let meta = db.meta().find_one(doc! { "_id": META_ID }).await.map_err(context(what))?;
    Ok(meta.ok_or_else(|| Corruption::missing(META))?)
}

#[cfg(test)]
mod tests;
