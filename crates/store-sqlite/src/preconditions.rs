//! Reads the preconditions of a batch: head, stream versions, key entries, claims and recorded results.

use std::collections::HashMap;

use rusqlite::Connection;
use store::commit_planner::{Batch, Preconditions};

use crate::columns::unsigned;
use crate::error::SqliteError;
use crate::head::read_head;
use crate::idempotency;
use crate::key_store::{
    claims_of, claims_statement, read_claim_owners, vault_entry, vault_statement, wrapping_key_id,
};

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
        owners: read_claim_owners(connection, &batch.claims())?,
        recorded_results,
        wrapping_key: wrapping,
    })
}
