//! Reads the key store: data keys and claims in `vault`, service keys in `keys`.

use std::collections::{BTreeMap, HashMap, HashSet};

use mongodb::bson::{Document, RawBsonRef, RawDocument, doc};
use store::key_store::{ClaimHash, ClaimReplacement, KeyEntry, StreamKeyEntry};
use store::{StoreError, StreamId};

use crate::connection::Db;
use crate::document_reader::{DocumentReader, hashes};
use crate::error::{check_write_errors_except_duplicates, context};
use crate::find::{self, FindRequest, find};

/// The key entry of a stream, and the claims that it holds.
pub(crate) type EntryWithClaims = (KeyEntry, Vec<ClaimHash>);

/// The entries of these streams.
pub(crate) async fn read_entries(
    db: &Db,
    streams: &[StreamId],
) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
    let filter = doc! { "_id": { "$in": names(streams) } };
    let entry = |document: &RawDocument| to_key_entry(document).map(|(stream, (entry, _))| (stream, entry));
    let found = find(db, &db.vault(), "reading the key store", filter, doc! {}, usize::MAX, entry).await?;
    Ok(found.into_iter().collect())
}

/// The entries of these streams with their claims.
pub(crate) async fn read_entries_with_claims(
    db: &Db,
    streams: &[StreamId],
) -> Result<Vec<StreamKeyEntry>, StoreError> {
    let filter = doc! { "_id": { "$in": names(streams) } };
    let entry = |document: &RawDocument| {
        to_key_entry(document).map(|(stream, (entry, claims))| (stream, entry, claims))
    };
    find(db, &db.vault(), "reading the key store", filter, doc! {}, usize::MAX, entry).await
}

/// The streams that own these claims.
pub(crate) async fn read_claim_owners(
    db: &Db,
    claims: &[ClaimHash],
) -> Result<HashMap<ClaimHash, StreamId>, StoreError> {
    let filter = doc! { "claims": { "$in": hashes(claims) } };
    let (what, vault) = ("reading the owners of claims", db.vault());
    let found = find(db, &vault, what, filter, doc! {}, usize::MAX, to_key_entry).await?;
    let found = found.into_iter().filter(|(_, (entry, _))| *entry != KeyEntry::Erased);
    let owned = found.flat_map(|(stream, (_, held))| {
        held.into_iter().map(move |claim| (claim, stream.clone())).collect::<Vec<_>>()
    });
    let claims: HashSet<_> = claims.iter().collect();
    Ok(owned.filter(|(claim, _)| claims.contains(claim)).collect())
}

/// Replaces the claims of streams that still hold those given. One that another stream holds is not taken.
pub(crate) async fn replace_claims(db: &Db, replacements: &[ClaimReplacement]) -> Result<(), StoreError> {
    let updates: Vec<_> = replacements.iter().map(claim_update).collect();
    let what = "replacing claims";
    // A command that is sent as such does not inherit the write concern of the database.
    let concern = doc! { "w": "majority", "j": true };
    let update =
        doc! { "update": db.vault().name(), "updates": updates, "ordered": false, "writeConcern": concern };
    let answer = db.handle().run_command(update).await.map_err(context(what))?;
    check_write_errors_except_duplicates(what, &answer)
}

fn claim_update(replacement: &ClaimReplacement) -> Document {
    let ClaimReplacement { stream, from, to } = replacement;
    let held = if from.is_empty() {
        doc! { "$exists": false }
    } else {
        doc! { "$eq": hashes(from) }
    };
    // An empty list has no field: see the unique index.
    let change = if to.is_empty() {
        doc! { "$unset": { "claims": true } }
    } else {
        doc! { "$set": { "claims": hashes(to) } }
    };
    doc! { "q": { "_id": stream.as_str(), "erased": { "$ne": true }, "claims": held }, "u": change }
}

/// Streams that have a key entry, in order.
pub(crate) async fn read_streams(
    db: &Db,
    after: Option<&StreamId>,
    limit: usize,
) -> Result<Vec<StreamId>, StoreError> {
    let filter = doc! { "_id": { "$gt": after.map_or("", StreamId::as_str) } };
    let search =
        FindRequest { filter, order: doc! { "_id": 1 }, limit, index: None, fields: Some(doc! { "_id": 1 }) };
    find::search(db, &db.vault(), "reading the key store", search, to_stream).await
}

/// The service keys by name.
pub(crate) async fn service_keys(db: &Db) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
    let key = |document: &RawDocument| {
        let name = DocumentReader::new(document, "a service key").text("_id")?.to_owned();
        let key = DocumentReader::new(document, &format!("the service key `{name}`")).bytes("key")?.to_vec();
        Ok((name, key))
    };
    let found = find(db, &db.keys(), "reading the service keys", doc! {}, doc! {}, usize::MAX, key).await?;
    Ok(found.into_iter().collect())
}

/// Decodes a key entry: a wrapped data key and claims, or the tombstone of an erased stream
/// (crypto-shredding).
pub(crate) fn to_key_entry(document: &RawDocument) -> Result<(StreamId, EntryWithClaims), StoreError> {
    let name = match document.get_str("_id") {
        Ok(stream) => format!("the key entry of {stream}"),
        Err(_) => "a key entry without a stream".to_owned(),
    };
    let fields = DocumentReader::new(document, &name);
    let stream = stream_name(&fields)?;
    let claims = match fields.optional("claims")? {
        None => Vec::new(),
        Some(_) => fields.get("claims", "a list of 32-byte hashes", |value| {
            let claim = |value: RawBsonRef<'_>| ClaimHash::from_slice(value.as_binary()?.bytes);
            value.as_array()?.into_iter().map(|value| claim(value.ok()?)).collect()
        })?,
    };
    let erased = fields.optional("erased")?.and_then(RawBsonRef::as_bool) == Some(true);
    let entry = if erased { KeyEntry::Erased } else { KeyEntry::Key(fields.bytes("key")?.to_vec()) };
    Ok((stream, (entry, claims)))
}

/// The stream of a key entry.
pub(crate) fn to_stream(document: &RawDocument) -> Result<StreamId, StoreError> {
    stream_name(&DocumentReader::new(document, "a key entry"))
}

/// The stream that a document is about, from its `_id`.
pub(crate) fn stream_name(fields: &DocumentReader<'_>) -> Result<StreamId, StoreError> {
    StreamId::new(fields.text("_id")?).map_err(|_| fields.invalid("_id", "a stream name"))
}

/// Stream names for `$in`.
pub(crate) fn names(streams: &[StreamId]) -> Vec<&str> {
    streams.iter().map(StreamId::as_str).collect()
}
