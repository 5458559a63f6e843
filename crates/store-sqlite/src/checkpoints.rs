//! Projection checkpoints, in `checkpoints`: the position that each read-model table has reached.

use rusqlite::{Connection, params};
use store::{Corruption, Position, ProjectionCheckpoint};

use crate::columns::{signed, unsigned};
use crate::error::{SqliteError, none_if_table_missing};

pub(crate) fn find_checkpoint(
    connection: &Connection,
    name: &str,
) -> Result<Option<ProjectionCheckpoint>, SqliteError> {
    let found = (|| {
        let sql = "SELECT name, position, rebuilds, digest FROM checkpoints WHERE name = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([name])?;
        rows.next()?.map(to_checkpoint).transpose()
    })();
    Ok(none_if_table_missing(found)?.flatten())
}

/// The checkpoint of a table; a table that was never prepared is at the start.
pub(crate) fn read_checkpoint(
    connection: &Connection,
    name: &str,
) -> Result<ProjectionCheckpoint, SqliteError> {
    Ok(find_checkpoint(connection, name)?.unwrap_or_default())
}

/// The checkpoints of the tables in use. Those of removed tables stay permanently, and are many after years of
/// rebuilds.
pub(crate) fn checkpoints_in_use(
    connection: &Connection,
) -> Result<Vec<(String, ProjectionCheckpoint)>, SqliteError> {
    let sql = "SELECT name, position, rebuilds, digest FROM checkpoints WHERE rebuilds <> ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([signed(ProjectionCheckpoint::removed().rebuilds)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(0)?, to_checkpoint(row)?));
    }
    Ok(found)
}

pub(crate) fn write_checkpoint(
    connection: &Connection,
    name: &str,
    checkpoint: ProjectionCheckpoint,
) -> Result<(), SqliteError> {
    let sql = "INSERT OR REPLACE INTO checkpoints (name, position, rebuilds, digest) VALUES (?1, ?2, ?3, ?4)";
    let ProjectionCheckpoint { rebuilds, position, digest } = checkpoint;
    let rebuilds = i64::try_from(rebuilds).unwrap_or(i64::MAX);
    let values = params![name, position.to_i64(), rebuilds, digest.to_string()];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Decodes `position, rebuilds, digest` from the columns after the first.
fn to_checkpoint(row: &rusqlite::Row<'_>) -> Result<ProjectionCheckpoint, SqliteError> {
    let digest: String = row.get(3)?;
    Ok(ProjectionCheckpoint {
        rebuilds: unsigned(row.get(2)?, "a number of rebuilds")?,
        position: Position::new(unsigned(row.get(1)?, "a checkpoint")?),
        digest: digest.parse().map_err(|error| Corruption::invalid("the digest of a table", error))?,
    })
}
