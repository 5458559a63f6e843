//! Projection versions, stored as JSON in `read_models`.

use rusqlite::{Connection, OptionalExtension, params};
use store::{Corruption, InternalError, ProjectionVersions, StoreError, Table};

use crate::checkpoints::read_checkpoint;
use crate::error::SqliteError;
use crate::transaction::begin;

/// The versions of one projection.
pub(crate) fn read(
    connection: &Connection,
    projection: &str,
) -> Result<Option<ProjectionVersions>, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT versions FROM read_models WHERE name = ?1")?;
    let stored: Option<String> = statement.query_row([projection], |row| row.get(0)).optional()?;
    stored.map(|stored| decode(projection, &stored)).transpose()
}

/// The versions of every projection, by its name.
pub(crate) fn all(connection: &Connection) -> Result<Vec<(String, ProjectionVersions)>, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT name, versions FROM read_models")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, stored): (String, String) = (row.get(0)?, row.get(1)?);
        let versions = decode(&name, &stored)?;
        found.push((name, versions));
    }
    Ok(found)
}

/// Replaces the versions by compare-and-set on their revision; `false` if another revision is stored or the
/// first table is behind the second.
pub(crate) fn change(
    connection: &mut Connection,
    projection: &str,
    to: &ProjectionVersions,
    behind: Option<&(Table, Table)>,
) -> Result<bool, SqliteError> {
    let transaction = begin(connection)?;
    let revision = read(&transaction, projection)?.map_or(0, |versions| versions.revision);
    if revision + 1 != to.revision {
        return Ok(false);
    }
    if let Some((one, other)) = behind
        && read_checkpoint(&transaction, &one.name)?.position
            < read_checkpoint(&transaction, &other.name)?.position
    {
        return Ok(false);
    }
    let encoded = serde_json::to_string(to).map_err(|error| {
        StoreError::from(InternalError::encoding(format!("the versions of `{projection}`"), error))
    })?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO read_models (name, versions) VALUES (?1, ?2)")?
        .execute(params![projection, encoded])?;
    transaction.commit()?;
    Ok(true)
}

fn decode(projection: &str, stored: &str) -> Result<ProjectionVersions, SqliteError> {
    serde_json::from_str(stored)
        .map_err(|error| Corruption::invalid(format!("the versions of `{projection}`"), error).into())
}
