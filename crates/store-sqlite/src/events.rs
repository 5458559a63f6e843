//! Queries of the log.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, params, params_from_iter};
use store::backend::EventQuery;
use store::{Envelope, Position, StreamId};

use crate::envelope::{COLUMNS, read_envelope};
use crate::failure::Failure;

/// The events of one stream.
pub(crate) fn read_stream(
    connection: &Connection,
    stream: &StreamId,
    after: u64,
    limit: usize,
) -> Result<Vec<Envelope>, Failure> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM events WHERE stream = ?1 AND version > ?2 ORDER BY version LIMIT ?3"
    ))?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    collect(statement.query(params![stream.as_str(), after, bound(limit)])?)
}

/// The events that a query asks for.
pub(crate) fn read_events(connection: &Connection, query: &EventQuery) -> Result<Vec<Envelope>, Failure> {
    let (sql, filters) = statement(query);
    let until = query.until.map_or(i64::MAX, Position::to_i64);
    let numbers = [query.after.to_i64(), until, bound(query.limit)]
        .map(|number| ToSqlOutput::Owned(Value::Integer(number)));
    let texts = filters.into_iter().map(|text| ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())));
    let mut statement = connection.prepare_cached(&sql)?;
    collect(statement.query(params_from_iter(numbers.into_iter().chain(texts)))?)
}

/// The statement of a query, and its parameters from `?4` on.
fn statement(query: &EventQuery) -> (String, Vec<&str>) {
    let mut filters: Vec<&str> = query.types.iter().map(String::as_str).collect();
    let types: Vec<_> = (4..).take(filters.len()).map(|number| format!("?{number}")).collect();
    let mut conditions = Vec::new();
    if !types.is_empty() {
        conditions.push(format!("AND type IN ({})", types.join(", ")));
    }
    let texts = [("stream", query.stream.as_ref().map(StreamId::as_str)), ("actor", query.actor.as_deref())];
    for (column, text) in texts {
        if let Some(text) = text {
            conditions.push(format!("AND {column} = ?{}", filters.len() + 4));
            filters.push(text);
        }
    }
    // Within a stream, versions rise as positions do; the `+` keeps SQLite to the stream's own index.
    let (position, order) =
        if query.stream.is_some() { ("+position", "version") } else { ("position", "position") };
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE {position} > ?1 AND {position} <= ?2 {} ORDER BY {order} LIMIT ?3",
        conditions.join(" ")
    );
    (sql, filters)
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Envelope>, Failure> {
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(read_envelope(row)?);
    }
    Ok(events)
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
