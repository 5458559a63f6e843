//! Events as rows: one column per field of the envelope.

use rusqlite::{Connection, Row, params};
use store::canonical::canonical_object;
use store::{Envelope, Position};
use uuid::Uuid;

use crate::error::SqliteError;
use crate::preconditions::{stream_id, timestamp, unsigned};

/// The columns, in the order in which [`read_event`] expects them.
pub(crate) const COLUMNS: &str =
    "position, id, stream, version, type, schema, at, actor, request_id, data, sealed, leaf";

/// Writes events.
pub(crate) fn insert_events(connection: &Connection, events: &[Envelope]) -> Result<(), SqliteError> {
    let mut insert = connection.prepare_cached(&format!(
        "INSERT INTO events ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    ))?;
    for event in events {
        let version = i64::try_from(event.version).map_err(|_| unstorable(event, "version"))?;
        let data = canonical_object(&event.data).map_err(|_| unstorable(event, "data"))?;
        insert.execute(params![
            event.position.to_i64(),
            &*event.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
            event.stream.as_str(),
            version,
            event.event_type,
            event.schema,
            event.at.as_millisecond(),
            event.actor,
            event.request_id,
            str::from_utf8(&data).map_err(|_| unstorable(event, "data"))?,
            event.sealed,
            event.leaf,
        ])?;
    }
    Ok(())
}

/// Reads an event back.
pub(crate) fn read_event(row: &Row<'_>) -> Result<Envelope, SqliteError> {
    let position = Position::new(unsigned(row.get(0)?, "a position")?);
    let wrong = |field: &str| {
        SqliteError::corrupt(format!("the `{field}` of the event at position {position} is wrong"))
    };
    Ok(Envelope {
        position,
        id: Uuid::parse_str(row.get_ref(1)?.as_str()?).map_err(|_| wrong("id"))?,
        stream: stream_id(row.get(2)?)?,
        version: unsigned(row.get(3)?, "a version")?,
        event_type: row.get(4)?,
        schema: row.get(5).map_err(|_| wrong("schema"))?,
        at: timestamp(row.get(6)?)?,
        actor: row.get(7)?,
        request_id: row.get(8)?,
        data: serde_json::from_str(row.get_ref(9)?.as_str()?).map_err(|_| wrong("data"))?,
        sealed: row.get(10)?,
        leaf: row.get(11).map_err(|_| wrong("leaf"))?,
    })
}

/// Cannot happen: the event was judged, and its leaf made of the same canonical form, a moment ago.
fn unstorable(event: &Envelope, field: &str) -> SqliteError {
    SqliteError::corrupt(format!(
        "the `{field}` of the new event at position {} cannot be stored",
        event.position
    ))
}
