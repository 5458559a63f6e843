//! The head of the log: the single row of `head`.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use store::head::Head;
use store::merkle::Frontier;
use store::{Corruption, Position};

use crate::columns::{timestamp, unsigned};
use crate::error::SqliteError;

/// The head of the log.
pub(crate) fn read_head(connection: &Connection) -> Result<Head, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT position, at, root, frontier, note FROM head")?;
    let mut rows = statement.query([])?;
    let row = rows.next()?.ok_or_else(|| Corruption::missing("the head of the log"))?;
    let position = unsigned(row.get(0)?, "the head's position")?;
    let frontier = Frontier::from_bytes(position, row.get_ref(3)?.as_blob()?);
    Ok(Head {
        position: Position::new(position),
        at: timestamp(row.get(1)?)?,
        root: row.get(2)?,
        frontier: frontier.map_err(|error| Corruption::invalid("the head of the log", error))?,
        note: row.get(4)?,
    })
}

/// The position alone.
pub(crate) fn read_head_position(connection: &Connection) -> Result<Position, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT position FROM head")?;
    Ok(Position::from_i64(statement.query_row([], |row| row.get(0))?))
}

/// Position and time, for the progress watcher.
pub(crate) fn read_head_progress(connection: &Connection) -> Result<(Position, Timestamp), SqliteError> {
    let mut statement = connection.prepare_cached("SELECT position, at FROM head")?;
    let (position, at) = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((Position::from_i64(position), timestamp(at)?))
}

/// Writes the head of the log.
pub(crate) fn write_head(transaction: &Transaction<'_>, head: &Head) -> Result<(), SqliteError> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO head (one, position, at, root, frontier, note)
         VALUES (1, ?1, ?2, ?3, ?4, ?5)",
    )?;
    statement.execute(params![
        head.position.to_i64(),
        head.at.as_millisecond(),
        head.root,
        head.frontier.to_bytes(),
        head.note
    ])?;
    Ok(())
}
