//! What a batch needs to know, read inside its transaction.

use std::collections::HashMap;

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, doc};
use mongodb::options::ReturnDocument;
use store::backend::{Facts, VaultEntry};
use store::judge::Batch;
use store::vault::ClaimHash;
use store::{StoreError, StreamId};

use crate::connect::Db;
use crate::document::{HEAD_ID, to_head};
use crate::failure::Failure;
use crate::fields::{Fields, binary};
use crate::idempotency;
use crate::transaction::all;

/// More documents than a transaction asks for, so that every answer fits into one reply (the default is 101).
pub(crate) const ONE_REPLY: u32 = 100_000;

/// What the vault holds of one stream.
pub(crate) type Held = (VaultEntry, Vec<ClaimHash>);

/// Touches the head, so that of two transactions at once one fails here, before it has cost much; then reads the rest.
/// Says also how often the head was touched.
pub(crate) async fn read(
    db: &Db,
    session: &mut ClientSession,
    batch: &Batch,
) -> Result<(Facts, i64), Failure> {
    let head = db
        .head()
        .find_one_and_update(doc! { "_id": HEAD_ID }, doc! { "$inc": { "touched": 1_i64 } })
        .return_document(ReturnDocument::After)
        .session(&mut *session)
        .await?;
    let (head, touched) =
        to_head(&head.ok_or_else(|| StoreError::corrupt("the head of the log is missing"))?)?;
    let versions = versions(db, session, &batch.streams()).await?;
    // A stream gets its key together with an event, so one without events has no entry to look for.
    let known: Vec<_> = versions.keys().map(StreamId::as_str).collect();
    // Entries that were asked for by stream and by claim come mixed; what nobody asked for changes no judgement.
    let vault = vault(db, session, &known, &batch.claims()).await?;
    let first_results = idempotency::read_all(db, session, &batch.idempotency_keys()).await?;
    // Whoever owns a claim is among the entries, which say so.
    let owners = HashMap::new();
    Ok((Facts { head, versions, vault, owners, first_results }, touched))
}

/// The vault entries of these streams, and those that hold these claims.
async fn vault(
    db: &Db,
    session: &mut ClientSession,
    streams: &[&str],
    claims: &[ClaimHash],
) -> Result<HashMap<StreamId, Held>, Failure> {
    let by_stream = doc! { "_id": { "$in": streams } };
    let by_claim = doc! { "claims": { "$in": hashes(claims) } };
    let filter = match (streams.is_empty(), claims.is_empty()) {
        (true, true) => return Ok(HashMap::new()),
        (true, false) => by_claim,
        (false, true) => by_stream,
        (false, false) => doc! { "$or": [by_stream, by_claim] },
    };
    let found = db.vault().find(filter).batch_size(ONE_REPLY).session(&mut *session).await?;
    let found = all(found, session).await?;
    let mut held: HashMap<_, _> =
        found.iter().map(|document| to_vault(document)).collect::<Result<_, _>>()?;
    // A tombstone holds no claims. One that does was tampered with: the unique index tells, and nothing is taken for true.
    for (_, claims) in held.values_mut().filter(|(entry, _)| *entry == VaultEntry::Erased) {
        claims.clear();
    }
    Ok(held)
}

/// The newest version of each stream: one step in the index `{stream: 1, version: -1}` for each, however long it is.
async fn versions(
    db: &Db,
    session: &mut ClientSession,
    streams: &[StreamId],
) -> Result<HashMap<StreamId, u64>, Failure> {
    let newest = newest_versions(streams);
    let found =
        db.events().aggregate(newest).with_type().batch_size(ONE_REPLY).session(&mut *session).await?;
    let version = |document: &RawDocument| {
        let fields = Fields::new(document, "the newest version of a stream");
        Ok((stream_name(&fields)?, fields.number("version")?))
    };
    all(found, session).await?.iter().map(|document| version(document)).collect()
}

fn newest_versions(streams: &[StreamId]) -> [Document; 3] {
    [
        doc! { "$match": { "stream": { "$in": names(streams) } } },
        doc! { "$sort": { "stream": 1, "version": -1 } },
        doc! { "$group": { "_id": "$stream", "version": { "$first": "$version" } } },
    ]
}

/// A vault entry: a wrapped key and claims, or the tombstone of an erased stream.
pub(crate) fn to_vault(document: &RawDocument) -> Result<(StreamId, Held), StoreError> {
    let name = match document.get_str("_id") {
        Ok(stream) => format!("the vault entry of {stream}"),
        Err(_) => "a vault entry without a stream".to_owned(),
    };
    let fields = Fields::new(document, &name);
    let stream = stream_name(&fields)?;
    let claims = match fields.optional("claims")? {
        None => Vec::new(),
        Some(_) => fields.get("claims", "a list of 32-byte hashes", |value| {
            let claim = |value: RawBsonRef<'_>| ClaimHash::from_slice(value.as_binary()?.bytes);
            value.as_array()?.into_iter().map(|value| claim(value.ok()?)).collect()
        })?,
    };
    let erased = fields.optional("erased")?.and_then(RawBsonRef::as_bool) == Some(true);
    let entry = if erased { VaultEntry::Erased } else { VaultEntry::Key(fields.bytes("key")?.to_vec()) };
    Ok((stream, (entry, claims)))
}

fn stream_name(fields: &Fields<'_>) -> Result<StreamId, StoreError> {
    StreamId::new(fields.text("_id")?).map_err(|_| fields.wrong("_id", "a stream name"))
}

/// Streams for `$in`.
pub(crate) fn names(streams: &[StreamId]) -> Vec<&str> {
    streams.iter().map(StreamId::as_str).collect()
}

/// Claims as they are stored.
pub(crate) fn hashes(claims: &[ClaimHash]) -> Vec<Bson> {
    claims.iter().map(|claim| Bson::Binary(binary(claim.as_bytes()))).collect()
}
