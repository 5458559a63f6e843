//! Reading what a batch is judged by: head, stream versions, vault and claims.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use store::backend::{Head, KeyEntry, Preconditions, StreamKeyEntry};
use store::commit_planner::Batch;
use store::key_store::ClaimHash;
use store::merkle::Frontier;
use store::{Position, StreamId};

use crate::error::SqliteError;
use crate::{idempotency, keys};

/// What a batch needs to know.
pub(crate) fn read_preconditions(
    connection: &Connection,
    batch: &Batch,
) -> Result<Preconditions, SqliteError> {
    let head = read_head(connection)?;
    let mut version = connection.prepare_cached("SELECT max(version) FROM events WHERE stream = ?1")?;
    let mut entry = vault_statement(connection)?;
    let mut claims = claims_statement(connection)?;
    let (mut versions, mut vault) = (HashMap::new(), HashMap::new());
    for stream in batch.streams() {
        let last: Option<i64> = version.query_row([stream.as_str()], |row| row.get(0))?;
        if let Some(entry) = vault_entry(&mut entry, &stream)? {
            vault.insert(stream.clone(), (entry, claims_of(&mut claims, &stream)?));
        }
        if let Some(last) = last {
            versions.insert(stream, unsigned(last, "a version")?);
        }
    }
    let mut recorded_results = HashMap::new();
    for key in batch.idempotency_keys() {
        recorded_results.extend(idempotency::read(connection, key)?.map(|first| (key, first)));
    }
    let wrapping = if batch.creates_keys() { keys::wrapping(connection)? } else { None };
    Ok(Preconditions {
        head,
        versions,
        key_entries: vault,
        owners: claim_owners(connection, batch)?,
        recorded_results,
        wrapping_key: wrapping,
    })
}

/// The head of the log.
pub(crate) fn read_head(connection: &Connection) -> Result<Head, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT position, at, root, frontier, note FROM head")?;
    let mut rows = statement.query([])?;
    let row = rows.next()?.ok_or_else(|| SqliteError::corrupt("the head of the log is missing"))?;
    let position = unsigned(row.get(0)?, "the head's position")?;
    let frontier = Frontier::from_bytes(position, row.get_ref(3)?.as_blob()?);
    Ok(Head {
        position: Position::new(position),
        at: timestamp(row.get(1)?)?,
        root: row.get(2)?,
        frontier: frontier
            .map_err(|error| SqliteError::corrupt(format!("the head of the log is wrong: {error}")))?,
        note: row.get(4)?,
    })
}

/// What the vault holds of these streams.
pub(crate) fn read_vault(
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

/// Streams with an entry in the vault.
pub(crate) fn read_holders(
    connection: &Connection,
    after: Option<&StreamId>,
    limit: usize,
) -> Result<Vec<StreamId>, SqliteError> {
    // Once for all pages: it looks at every claim.
    if after.is_none() {
        check_claims_have_entries(connection)?;
    }
    let mut statement =
        connection.prepare_cached("SELECT stream FROM vault WHERE stream > ?1 ORDER BY stream LIMIT ?2")?;
    let after = after.map_or("", StreamId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let names = statement.query_map(params![after, limit], |row| row.get(0))?;
    names.map(|name| stream_id(name?)).collect()
}

/// Vault entries with their claims.
pub(crate) fn read_held(
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

/// Claims are kept in a table of their own, where one could be without the entry that it belongs to.
fn check_claims_have_entries(connection: &Connection) -> Result<(), SqliteError> {
    let mut statement = connection
        .prepare_cached("SELECT stream FROM claims WHERE stream NOT IN (SELECT stream FROM vault) LIMIT 1")?;
    let orphan: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
    orphan.map_or(Ok(()), |stream| {
        Err(SqliteError::corrupt(format!("stream {stream} holds claims and has no entry in the vault")))
    })
}

/// A stored number that cannot be negative.
pub(crate) fn unsigned(number: i64, what: &str) -> Result<u64, SqliteError> {
    u64::try_from(number).map_err(|_| SqliteError::corrupt(format!("{what} is negative: {number}")))
}

/// A stored moment.
pub(crate) fn timestamp(milliseconds: i64) -> Result<Timestamp, SqliteError> {
    Timestamp::from_millisecond(milliseconds)
        .map_err(|error| SqliteError::corrupt(format!("{milliseconds} is no time in milliseconds: {error}")))
}

fn vault_statement(connection: &Connection) -> Result<CachedStatement<'_>, SqliteError> {
    Ok(connection.prepare_cached("SELECT key FROM vault WHERE stream = ?1")?)
}

fn claims_statement(connection: &Connection) -> Result<CachedStatement<'_>, SqliteError> {
    Ok(connection.prepare_cached("SELECT claim FROM claims WHERE stream = ?1")?)
}

/// The table itself makes sure that an entry without a key was erased.
fn vault_entry(
    statement: &mut CachedStatement<'_>,
    stream: &StreamId,
) -> Result<Option<KeyEntry>, SqliteError> {
    let key: Option<Option<Vec<u8>>> = statement.query_row([stream.as_str()], |row| row.get(0)).optional()?;
    Ok(key.map(|key| key.map_or(KeyEntry::Erased, KeyEntry::Key)))
}

fn claims_of(statement: &mut CachedStatement<'_>, stream: &StreamId) -> Result<Vec<ClaimHash>, SqliteError> {
    let mut rows = statement.query([stream.as_str()])?;
    let mut claims = Vec::new();
    while let Some(row) = rows.next()? {
        let claim = ClaimHash::from_slice(row.get_ref(0)?.as_blob()?);
        claims
            .push(claim.ok_or_else(|| {
                SqliteError::corrupt(format!("a claim of stream {stream} is not 32 bytes"))
            })?);
    }
    Ok(claims)
}

fn claim_owners(connection: &Connection, batch: &Batch) -> Result<HashMap<ClaimHash, StreamId>, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT stream FROM claims WHERE claim = ?1")?;
    let mut owners = HashMap::new();
    for claim in batch.claims() {
        let owner: Option<String> = statement.query_row([claim.as_bytes()], |row| row.get(0)).optional()?;
        if let Some(owner) = owner {
            owners.insert(claim, stream_id(owner)?);
        }
    }
    Ok(owners)
}

/// A stored stream name.
pub(crate) fn stream_id(name: String) -> Result<StreamId, SqliteError> {
    StreamId::new(name).map_err(|error| SqliteError::corrupt(error.to_string()))
}
