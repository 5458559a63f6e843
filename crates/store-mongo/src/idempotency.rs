//! Recorded results of idempotency keys. The TTL index on `at` expires them.

use std::collections::HashMap;

use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocument, doc};
use store::key_store::ClaimHash;
use store::{RecordedResult, StoreError, StreamId};

use crate::connection::Db;
use crate::document_reader::{DocumentReader, binary, date, hashes};
use crate::error::{MongoError, check_write_errors};
use crate::find::find;
use crate::transaction::{ONE_REPLY, collect_all};

/// The recorded result of a key.
pub(crate) async fn read(db: &Db, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError> {
    let by_key = doc! { "_id": binary(key.as_bytes()) };
    let decode = |document: &RawDocument| to_result(document).map(|(_, result)| result);
    let found = find(
        db,
        &db.idempotency(),
        "reading the recorded result of an idempotency key",
        by_key,
        doc! {},
        1,
        decode,
    )
    .await?;
    Ok(found.into_iter().next())
}

/// The recorded results of these keys, read inside a transaction.
pub(crate) async fn read_all(
    db: &Db,
    session: &mut ClientSession,
    keys: &[ClaimHash],
) -> Result<HashMap<ClaimHash, RecordedResult>, MongoError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let by_key = doc! { "_id": { "$in": hashes(keys) } };
    let found = db.idempotency().find(by_key).batch_size(ONE_REPLY).session(&mut *session).await?;
    collect_all(found, session).await?.iter().map(|document| Ok(to_result(document)?)).collect()
}

/// Records results. They replace expired ones that the server has not deleted yet.
pub(crate) async fn write(
    db: &Db,
    session: &mut ClientSession,
    results: &[(ClaimHash, RecordedResult)],
) -> Result<(), MongoError> {
    if results.is_empty() {
        return Ok(());
    }
    let updates: Vec<_> = results.iter().map(statement).collect();
    let update = doc! { "update": db.idempotency().name(), "updates": updates };
    let answer = db.handle().run_command(update).session(&mut *session).await?;
    check_write_errors("recording results of idempotency keys", &answer)
}

fn statement((key, result): &(ClaimHash, RecordedResult)) -> Document {
    let RecordedResult { request, stream, version, position, at } = result;
    let recorded = doc! {
        "request": binary(request.as_bytes()),
        "stream": stream.as_str(),
        "version": i64::try_from(*version).unwrap_or(i64::MAX),
        "position": position.to_i64(),
        "at": date(*at),
    };
    doc! { "q": { "_id": binary(key.as_bytes()) }, "u": recorded, "upsert": true }
}

fn to_result(document: &RawDocument) -> Result<(ClaimHash, RecordedResult), StoreError> {
    let fields = DocumentReader::new(document, "a recorded result");
    let result = RecordedResult {
        request: claim_hash(&fields, "request")?,
        stream: StreamId::new(fields.text("stream")?)
            .map_err(|_| fields.invalid("stream", "a stream name"))?,
        version: fields.number("version")?,
        position: fields.position("position")?,
        at: fields.timestamp("at")?,
    };
    Ok((claim_hash(&fields, "_id")?, result))
}

fn claim_hash(fields: &DocumentReader<'_>, name: &str) -> Result<ClaimHash, StoreError> {
    ClaimHash::from_slice(fields.bytes(name)?).ok_or_else(|| fields.invalid(name, "32 bytes"))
}
