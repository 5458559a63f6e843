//! Reads the key store: data keys in `vault`, claims in `claims`, service keys in `keys`.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use store::key_store::{ClaimHash, ClaimReplacement, KeyEntry, KeyId, MasterKey, StreamKeyEntry};
use store::rotation::SIGNING;
use store::{Corruption, StreamId};

use crate::columns::{row_limit, stream_id};
use crate::error::SqliteError;
use crate::transaction::{self, begin};

/// The key entries of these streams.
pub(crate) fn read_entries(
    connection: &Connection,
    streams: &[StreamId],
) -> Result<HashMap<StreamId, KeyEntry>, SqliteError> {
    let mut statement = vault_statement(connection)?;
    let mut found = HashMap::new();
    for stream in streams {
        if let Some(entry) = vault_entry(&mut statement, stream)? {
            found.insert(stream.clone(), entry);
        }
    }
    Ok(found)
}

/// Streams that have a key entry, in order.
pub(crate) fn read_streams(
    connection: &Connection,
    after: Option<&StreamId>,
    limit: usize,
) -> Result<Vec<StreamId>, SqliteError> {
    // Only for the first page: it scans all claims.
    if after.is_none() {
        check_claims_have_entries(connection)?;
    }
    let mut statement =
        connection.prepare_cached("SELECT stream FROM vault WHERE stream > ?1 ORDER BY stream LIMIT ?2")?;
    let after = after.map_or("", StreamId::as_str);
    let names = statement.query_map(params![after, row_limit(limit)], |row| row.get(0))?;
    names.map(|name| stream_id(name?)).collect()
}

/// The key entries of these streams with their claims.
pub(crate) fn read_entries_with_claims(
    connection: &Connection,
    streams: &[StreamId],
) -> Result<Vec<StreamKeyEntry>, SqliteError> {
    let mut entry = vault_statement(connection)?;
    let mut claims = claims_statement(connection)?;
    let mut held = Vec::new();
    for stream in streams {
        if let Some(entry) = vault_entry(&mut entry, stream)? {
            let claims = claims_of(&mut claims, stream)?;
            held.push((stream.clone(), entry, claims));
        }
    }
    Ok(held)
}

/// The streams that own these claims.
pub(crate) fn read_claim_owners(
    connection: &Connection,
    claims: &[ClaimHash],
) -> Result<HashMap<ClaimHash, StreamId>, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT stream FROM claims WHERE claim = ?1")?;
    let mut owners = HashMap::new();
    for claim in claims {
        let owner: Option<String> = statement.query_row([claim.as_bytes()], |row| row.get(0)).optional()?;
        if let Some(owner) = owner {
            owners.insert(*claim, stream_id(owner)?);
        }
    }
    Ok(owners)
}

/// Replaces the claims of streams that still hold those given, unless another stream holds one of the new ones.
pub(crate) fn replace_claims(
    connection: &mut Connection,
    replacements: &[ClaimReplacement],
) -> Result<(), SqliteError> {
    let transaction = begin(connection)?;
    for ClaimReplacement { stream, from, to } in replacements {
        let held = claims_of(&mut claims_statement(&transaction)?, stream)?;
        let is_same = held.len() == from.len() && held.iter().all(|claim| from.contains(claim));
        let entry = vault_entry(&mut vault_statement(&transaction)?, stream)?;
        let owners = read_claim_owners(&transaction, to)?;
        let is_free = owners.values().all(|owner| owner == stream);
        if is_same && is_free && matches!(entry, Some(KeyEntry::Key(_))) {
            transaction.execute("DELETE FROM claims WHERE stream = ?1", [stream.as_str()])?;
            for claim in to {
                let insert = "INSERT INTO claims (claim, stream) VALUES (?1, ?2)";
                transaction.prepare_cached(insert)?.execute(params![claim.as_bytes(), stream.as_str()])?;
            }
        }
    }
    transaction::commit(&transaction)
}

/// The service keys by name.
pub(crate) fn service_keys(connection: &Connection) -> Result<BTreeMap<String, Vec<u8>>, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT name, wrapped FROM keys")?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The master key that wraps new data keys: the one that wraps the signing key.
pub(crate) fn wrapping_key_id(connection: &Connection) -> Result<Option<KeyId>, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT wrapped FROM keys WHERE name = ?1")?;
    let wrapped: Option<Vec<u8>> = statement.query_row([SIGNING], |row| row.get(0)).optional()?;
    let wrapped = wrapped.ok_or_else(|| Corruption::missing(format!("the service key `{SIGNING}`")))?;
    Ok(MasterKey::id_of(&wrapped))
}

pub(crate) fn claims_of(
    statement: &mut CachedStatement<'_>,
    stream: &StreamId,
) -> Result<Vec<ClaimHash>, SqliteError> {
    let mut rows = statement.query([stream.as_str()])?;
    let mut claims = Vec::new();
    while let Some(row) = rows.next()? {
        let claim = ClaimHash::from_slice(row.get_ref(0)?.as_blob()?);
        claims.push(claim.ok_or_else(|| Corruption::field(format!("stream {stream}"), "claim", "32 bytes"))?);
    }
    Ok(claims)
}

/// An entry without a key is a tombstone; a CHECK constraint of the table guarantees it.
pub(crate) fn vault_entry(
    statement: &mut CachedStatement<'_>,
    stream: &StreamId,
) -> Result<Option<KeyEntry>, SqliteError> {
    let key: Option<Option<Vec<u8>>> = statement.query_row([stream.as_str()], |row| row.get(0)).optional()?;
    Ok(key.map(|key| key.map_or(KeyEntry::Erased, KeyEntry::Key)))
}

pub(crate) fn vault_statement(connection: &Connection) -> Result<CachedStatement<'_>, SqliteError> {
    Ok(connection.prepare_cached("SELECT key FROM vault WHERE stream = ?1")?)
}

pub(crate) fn claims_statement(connection: &Connection) -> Result<CachedStatement<'_>, SqliteError> {
    Ok(connection.prepare_cached("SELECT claim FROM claims WHERE stream = ?1")?)
}

/// Claims have their own table, so a claim could exist without the key entry of its stream.
fn check_claims_have_entries(connection: &Connection) -> Result<(), SqliteError> {
    let mut statement = connection
        .prepare_cached("SELECT stream FROM claims WHERE stream NOT IN (SELECT stream FROM vault) LIMIT 1")?;
    let orphan: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
    orphan.map_or(Ok(()), |stream| Err(Corruption::ClaimsWithoutKeyEntry { stream }.into()))
}
