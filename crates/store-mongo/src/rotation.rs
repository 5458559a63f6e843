//! Counts, reads and replaces wrapped keys during a rotation of the master key (KEK).

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, RawBsonRef, doc};
use store::key_store::{KeyId, MasterKey, WRAPPED_BYTES};
use store::rotation::{KeyReplacement, WrappedKey, WrappedKeyStore};
use store::{Corruption, StoreError, StreamId, WriteError};

use crate::commit::lock_head;
use crate::connection::Db;
use crate::detached::{REQUEST_TIMEOUT, SCAN_TIMEOUT, spawn_with_timeout};
use crate::document_reader::{DocumentReader, binary};
use crate::error::{MongoError, check_write_errors, context};
use crate::find::find;
use crate::key_store::service_keys;
use crate::mongo_store::MongoStore;
use crate::transaction::{TransactionBody, inner_error, run_transaction};

/// How long the server may take to count the keys of all streams.
const COUNT_TIMEOUT: Duration = Duration::from_mins(10);
/// How many unexpected master keys are identified; each one costs another pass over `vault`.
const MAX_UNKNOWN_MASTER_KEYS: usize = 16;

#[async_trait]
impl WrappedKeyStore for MongoStore {
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let db = self.connection.work.clone();
        spawn_with_timeout(
            "reading the service keys",
            REQUEST_TIMEOUT,
            async move { service_keys(&db).await },
        )
        .await
    }

    async fn count_keys(&self, known: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
        let (db, known) = (self.connection.work.clone(), known.to_vec());
        spawn_with_timeout("counting wrapped keys", COUNT_TIMEOUT, async move {
            count_by_master_key(&db, known).await
        })
        .await
    }

    async fn wrapped_keys(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<WrappedKey>, StoreError> {
        let (db, after) = (self.connection.work.clone(), after.cloned());
        spawn_with_timeout("reading wrapped keys", SCAN_TIMEOUT, async move {
            wrapped(&db, after.as_ref(), limit).await
        })
        .await
    }

    async fn replace_keys(&self, changes: &[KeyReplacement]) -> Result<u64, StoreError> {
        // The server rejects a command without statements.
        if changes.is_empty() {
            return Ok(0);
        }
        run_transaction(&self.connection.work, ReplaceKeys(changes.to_vec())).await.map_err(inner_error)
    }

    async fn add_service_key(&self, name: &str, wrapped: &[u8]) -> Result<(), WriteError> {
        let work = AddServiceKey { name: name.to_owned(), wrapped: wrapped.to_vec() };
        let added = run_transaction(&self.connection.work, work).await.map_err(inner_error)?;
        if added { Ok(()) } else { Err(WriteError::Conflict) }
    }

    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<(), WriteError> {
        let work = ReplaceServiceKey { name: name.to_owned(), from: from.to_vec(), to: to.to_vec() };
        let replaced = run_transaction(&self.connection.work, work).await.map_err(inner_error)?;
        if replaced { Ok(()) } else { Err(WriteError::Conflict) }
    }
}

async fn wrapped(db: &Db, after: Option<&StreamId>, limit: usize) -> Result<Vec<WrappedKey>, StoreError> {
    let after = after.map_or("", StreamId::as_str);
    let above = doc! { "_id": { "$gt": after }, "key": { "$exists": true } };
    find(db, &db.vault(), "reading wrapped keys", above, doc! { "_id": 1 }, limit, |entry| {
        let fields = DocumentReader::new(entry, "a key entry");
        let stream =
            StreamId::new(fields.text("_id")?).map_err(|_| fields.invalid("_id", "a stream name"))?;
        Ok((stream, fields.bytes("key")?.to_vec()))
    })
    .await
}

/// Counts by master key. A wrapped key starts with the id of its master key. The server cannot slice binaries
/// but compares those of equal length byte by byte, so the keys of one master key form a range. A key outside
/// the known ranges reveals the next master key to count.
async fn count_by_master_key(
    db: &Db,
    mut known: Vec<KeyId>,
) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
    for _ in 0..MAX_UNKNOWN_MASTER_KEYS {
        let (counts, others) = count(db, &known).await?;
        let unknown_master_key = if others == 0 { None } else { unknown_master_key(db, &known).await? };
        match unknown_master_key {
            Some(id) => known.push(id),
            // Keys outside the known ranges that were deleted since the count need no entry.
            None => return Ok(counts),
        }
    }
    Err(Corruption::TooManyMasterKeys { limit: MAX_UNKNOWN_MASTER_KEYS }.into())
}

/// Counts the keys of these master keys, and how many keys belong to others.
async fn count(db: &Db, known: &[KeyId]) -> Result<(BTreeMap<Option<KeyId>, u64>, u64), StoreError> {
    const WHAT: &str = "counting wrapped keys";
    let size = i64::try_from(WRAPPED_BYTES).unwrap_or(i64::MAX);
    let whole = doc! { "$and": [
        { "$eq": [{ "$type": "$key" }, "binData"] },
        { "$eq": [{ "$cond": [{ "$eq": [{ "$type": "$key" }, "binData"] }, { "$binarySize": "$key" }, 0_i64] }, size] },
    ] };
    let mut branches = vec![doc! { "case": { "$not": whole }, "then": MALFORMED_KEYS }];
    for (number, id) in (0_i64..).zip(known) {
        let [first, last] = key_range(*id);
        let within = doc! { "$and": [{ "$gte": ["$key", first] }, { "$lte": ["$key", last] }] };
        branches.push(doc! { "case": within, "then": number });
    }
    let master = doc! { "$switch": { "branches": branches, "default": UNKNOWN_MASTER_KEYS } };
    let pipeline = [
        doc! { "$match": { "key": { "$exists": true } } },
        doc! { "$group": { "_id": master, "streams": { "$sum": 1_i64 } } },
    ];
    let mut session = db.session().await.map_err(context(WHAT))?;
    let vault = db.vault();
    let counting = vault.aggregate(pipeline).with_type().session(&mut session);
    let mut found = counting.await.map_err(context(WHAT))?;
    let found: Vec<mongodb::bson::RawDocumentBuf> =
        found.stream(&mut session).try_collect().await.map_err(context(WHAT))?;
    db.observe(&session);
    let (mut counts, mut others) = (BTreeMap::new(), 0);
    for group in &found {
        let fields = DocumentReader::new(group, "a count of wrapped keys");
        let (master, streams): (i64, u64) =
            (fields.get("_id", "a number", RawBsonRef::as_i64)?, fields.number("streams")?);
        match usize::try_from(master) {
            Ok(number) => drop(counts.insert(known.get(number).copied(), streams)),
            Err(_) if master == MALFORMED_KEYS => drop(counts.insert(None, streams)),
            Err(_) => others = streams,
        }
    }
    Ok((counts, others))
}

/// Group ids for values that are not a wrapped key, and for keys of unknown master keys.
const MALFORMED_KEYS: i64 = -1;
const UNKNOWN_MASTER_KEYS: i64 = -2;

/// A master key outside `known` that wraps some key.
async fn unknown_master_key(db: &Db, known: &[KeyId]) -> Result<Option<KeyId>, StoreError> {
    let [first, last] = full_key_range();
    let mut not = Vec::new();
    for id in known {
        let [first, last] = key_range(*id);
        not.push(doc! { "key": { "$gte": first, "$lte": last } });
    }
    let mut filter = doc! { "key": { "$gte": first, "$lte": last } };
    if !not.is_empty() {
        filter.insert("$nor", not);
    }
    let vault = db.vault();
    let one = find(db, &vault, "counting wrapped keys", filter, doc! {}, 1, |entry| {
        Ok(MasterKey::id_of(DocumentReader::new(entry, "a key entry").bytes("key")?))
    });
    Ok(one.await?.first().copied().flatten())
}

/// The smallest and the largest key that a master key can wrap.
fn key_range(id: KeyId) -> [Bson; 2] {
    [0x00, 0xff].map(|rest| {
        let mut bytes = id.as_bytes().to_vec();
        bytes.resize(WRAPPED_BYTES, rest);
        binary(&bytes).into()
    })
}

/// The smallest and the largest possible wrapped key.
fn full_key_range() -> [Bson; 2] {
    [0x00, 0xff].map(|byte| binary(&[byte; WRAPPED_BYTES]).into())
}

/// Replaces data keys by compare-and-set.
struct ReplaceKeys(Vec<KeyReplacement>);

#[async_trait]
impl TransactionBody for ReplaceKeys {
    type Output = u64;

    fn description(&self) -> String {
        "replacing wrapped keys".to_owned()
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<u64, MongoError> {
        let statement = |KeyReplacement { stream, from, to }: &KeyReplacement| {
            let set = doc! { "$set": { "key": binary(to) } };
            doc! { "q": { "_id": stream.as_str(), "key": binary(from) }, "u": set }
        };
        let updates: Vec<_> = self.0.iter().map(statement).collect();
        let update = doc! { "update": db.vault().name(), "updates": updates };
        let answer = db.handle().run_command(update).session(&mut *session).await?;
        check_write_errors("replacing wrapped keys", &answer)?;
        Ok(replaced(&answer))
    }
}

fn replaced(answer: &Document) -> u64 {
    answer.get_i32("nModified").ok().and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}

/// Adds a service key unless there is one of that name.
struct AddServiceKey {
    name: String,
    wrapped: Vec<u8>,
}

#[async_trait]
impl TransactionBody for AddServiceKey {
    /// Whether it was added.
    type Output = bool;

    fn description(&self) -> String {
        format!("adding the service key `{}`", self.name)
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<bool, MongoError> {
        // Of two transactions that add the key at the same time, the second waits here and then finds it.
        lock_head(db, session).await?;
        let insert = doc! { "$setOnInsert": { "key": binary(&self.wrapped) } };
        let keys = db.keys();
        let update = keys.update_one(doc! { "_id": &self.name }, insert).upsert(true);
        Ok(update.session(&mut *session).await?.upserted_id.is_some())
    }
}

/// Replaces a service key by compare-and-set.
struct ReplaceServiceKey {
    name: String,
    from: Vec<u8>,
    to: Vec<u8>,
}

#[async_trait]
impl TransactionBody for ReplaceServiceKey {
    /// Whether the expected key was stored.
    type Output = bool;

    fn description(&self) -> String {
        format!("replacing the service key `{}`", self.name)
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<bool, MongoError> {
        // Every commit locks the head too, so each one happens entirely before or after this transaction.
        lock_head(db, session).await?;
        let expected = doc! { "_id": &self.name, "key": binary(&self.from) };
        let set = doc! { "$set": { "key": binary(&self.to) } };
        let updated = db.keys().update_one(expected, set).session(&mut *session).await?;
        Ok(updated.matched_count > 0)
    }
}
