//! Reads the preconditions of a batch: head, stream versions, key entries, claims and recorded results.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};
use store::StreamId;
use store::commit_planner::{Batch, Preconditions};
use store::key_store::ClaimHash;

use crate::columns::{stream_id, unsigned};
use crate::error::SqliteError;
use crate::head::read_head;
use crate::idempotency;
use crate::key_store::{claims_of, claims_statement, vault_entry, vault_statement, wrapping_key_id};

/// The preconditions of a batch.
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
    let wrapping = if batch.creates_keys() { wrapping_key_id(connection)? } else { None };
    Ok(Preconditions {
        head,
        database_time: None,
        versions,
        key_entries: vault,
        owners: claim_owners(connection, batch)?,
        recorded_results,
        wrapping_key: wrapping,
    })
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
