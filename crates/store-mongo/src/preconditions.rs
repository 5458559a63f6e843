//! Reads the preconditions of a batch inside its transaction: head, stream versions, key entries, claims.

use std::collections::HashMap;

use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocument, doc};
use store::commit_planner::{Batch, Preconditions};
use store::key_store::{ClaimHash, KeyEntry, KeyId, MasterKey};
use store::rotation::SIGNING;
use store::{Corruption, StoreError, StreamId};

use crate::connection::Db;
use crate::document_reader::{DocumentReader, hashes};
use crate::error::MongoError;
use crate::event_document::{HEAD_ID, to_head};
use crate::idempotency;
use crate::key_store::{EntryWithClaims, names, stream_name, to_key_entry};
use crate::transaction::collect_all;

/// Reads everything in one round trip from one snapshot: the head, joined by `$lookup` with what the batch
/// needs. Also returns how often the head was locked.
pub(crate) async fn read(
    db: &Db,
    session: &mut ClientSession,
    batch: &Batch,
) -> Result<(Preconditions, i64), MongoError> {
    let mut pipeline = pipeline(db, &batch.streams(), &batch.claims());
    pipeline.push(doc! { "$set": { TIME: "$$NOW" } });
    if batch.creates_keys() {
        pipeline.push(lookup(db.keys().name(), vec![doc! { "$match": { "_id": SIGNING } }], WRAPPING));
    }
    let found = db.head().aggregate(pipeline).with_type().session(&mut *session).await?;
    let found = collect_all(found, session).await?;
    let found = found.first().ok_or_else(|| Corruption::missing("the head of the log"))?;
    let (head, touched) = to_head(found)?;
    let joined = DocumentReader::new(found, "the preconditions of a batch");
    let time = joined.timestamp(TIME)?;
    db.clock().observe(time);
    let versions = joined.documents(VERSIONS)?.into_iter().map(to_version).collect::<Result<_, _>>()?;
    // An entry found both by stream and by claim is returned twice, with the same content.
    let entries = [joined.documents(BY_STREAM)?, joined.documents(BY_CLAIM)?].concat();
    let mut vault: HashMap<_, EntryWithClaims> =
        entries.into_iter().map(to_key_entry).collect::<Result<_, _>>()?;
    // A tombstone with claims was tampered with. Its claims are ignored; taking one of them fails at the
    // unique index.
    for (_, claims) in vault.values_mut().filter(|(entry, _)| *entry == KeyEntry::Erased) {
        claims.clear();
    }
    let recorded_results = idempotency::read_all(db, session, &batch.idempotency_keys()).await?;
    let wrapping = if batch.creates_keys() { wrapping(&joined)? } else { None };
    // The key entries name the owners of the claims.
    let owners = HashMap::new();
    Ok((
        Preconditions {
            head,
            database_time: Some(time),
            versions,
            key_entries: vault,
            owners,
            recorded_results,
            wrapping_key: wrapping,
        },
        touched,
    ))
}

/// Names of the joined results.
const TIME: &str = "time";
const VERSIONS: &str = "versions";
const BY_STREAM: &str = "by_stream";
const BY_CLAIM: &str = "by_claim";
const WRAPPING: &str = "wrapping";

fn pipeline(db: &Db, streams: &[StreamId], claims: &[ClaimHash]) -> Vec<Document> {
    let vault = db.vault();
    vec![
        doc! { "$match": { "_id": HEAD_ID } },
        lookup(db.events().name(), newest_versions(streams).into(), VERSIONS),
        lookup(vault.name(), vec![doc! { "$match": { "_id": { "$in": names(streams) } } }], BY_STREAM),
        lookup(vault.name(), vec![doc! { "$match": { "claims": { "$in": hashes(claims) } } }], BY_CLAIM),
    ]
}

/// Joins the results of a pipeline on another collection under `name`.
pub(crate) fn lookup(collection: &str, pipeline: Vec<Document>, name: &str) -> Document {
    doc! { "$lookup": { "from": collection, "pipeline": pipeline, "as": name } }
}

/// The master key that wraps new data keys: the one that wraps the signing key.
fn wrapping(joined: &DocumentReader<'_>) -> Result<Option<KeyId>, StoreError> {
    let missing = || Corruption::missing(format!("the service key `{SIGNING}`"));
    let signing = joined.documents(WRAPPING)?.into_iter().next().ok_or_else(missing)?;
    Ok(MasterKey::id_of(DocumentReader::new(signing, "a service key").bytes("key")?))
}

fn to_version(document: &RawDocument) -> Result<(StreamId, u64), StoreError> {
    let fields = DocumentReader::new(document, "the newest version of a stream");
    Ok((stream_name(&fields)?, fields.number("version")?))
}

/// The newest version of each stream: one index step in `{stream: 1, version: -1}` per stream, whatever its
/// length.
fn newest_versions(streams: &[StreamId]) -> [Document; 3] {
    [
        doc! { "$match": { "stream": { "$in": names(streams) } } },
        doc! { "$sort": { "stream": 1, "version": -1 } },
        doc! { "$group": { "_id": "$stream", "version": { "$first": "$version" } } },
    ]
}
