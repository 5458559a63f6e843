//! Events as rows of `events`, one column per field of the envelope, and queries of the log.

use std::collections::BTreeSet;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Row, Rows, params, params_from_iter};
use store::backend::EventQuery;
use store::canonical::canonical_object;
use store::{Corruption, Envelope, InternalError, Position, StoreError, StreamId};
use uuid::Uuid;

use crate::columns::{row_limit, stream_id, timestamp, unsigned};
use crate::error::SqliteError;

/// Reads the events of one stream.
pub(crate) fn read_stream(
    connection: &Connection,
    stream: &StreamId,
    after: u64,
    limit: usize,
) -> Result<Vec<Envelope>, SqliteError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM events WHERE stream = ?1 AND version > ?2 ORDER BY version LIMIT ?3"
    ))?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    collect(statement.query(params![stream.as_str(), after, row_limit(limit)])?)
}

/// Reads the events of one stream, newest first.
pub(crate) fn read_stream_backwards(
    connection: &Connection,
    stream: &StreamId,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Envelope>, SqliteError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM events WHERE stream = ?1 AND version < ?2 ORDER BY version DESC LIMIT ?3"
    ))?;
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    collect(statement.query(params![stream.as_str(), before, row_limit(limit)])?)
}

/// Reads the events that match a query.
pub(crate) fn read_events(connection: &Connection, query: &EventQuery) -> Result<Vec<Envelope>, SqliteError> {
    let (sql, filters) = statement(query);
    let until = query.until.map_or(i64::MAX, Position::to_i64);
    let numbers = [query.after.to_i64(), until, row_limit(query.limit)]
        .map(|number| ToSqlOutput::Owned(Value::Integer(number)));
    let texts = filters.into_iter().map(|text| ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())));
    let mut statement = connection.prepare_cached(&sql)?;
    collect(statement.query(params_from_iter(numbers.into_iter().chain(texts)))?)
}

/// The SQL of a query, and its parameters from `?4` on. Every query reads an index in order, so that a page
/// costs the same in a long log as in a short one.
fn statement(query: &EventQuery) -> (String, Vec<&str>) {
    // Removes duplicates.
    let types: BTreeSet<_> = query.types.iter().map(String::as_str).collect();
    let mut texts = Vec::new();
    let mut parameter = |text| {
        texts.push(text);
        format!("?{}", texts.len() + 3)
    };
    let types: Vec<_> = types.into_iter().map(&mut parameter).collect();
    let stream = query.stream.as_ref().map(|stream| parameter(stream.as_str()));
    let actor = query.actor.as_deref().map(parameter);
    let of_types =
        if types.is_empty() { String::new() } else { format!("AND +type IN ({})", types.join(", ")) };
    let of_actor =
        |column: &str| actor.as_ref().map(|actor| format!("AND {column} = {actor}")).unwrap_or_default();
    let select = |index: &str, filters: &str| {
        format!("SELECT {COLUMNS} FROM events {index} WHERE position > ?1 AND position <= ?2 {filters}")
    };
    // The unary `+` keeps SQLite from using an index for a column that only filters.
    let (found, order) = if let Some(stream) = stream {
        // Within a stream, versions and positions have the same order.
        let within = "+position > ?1 AND +position <= ?2";
        let of_stream = format!("SELECT {COLUMNS} FROM events WHERE {within} AND stream = {stream}");
        (format!("{of_stream} {} {of_types}", of_actor("+actor")), "version")
    } else if actor.is_some() {
        (select("INDEXED BY events_actor", &format!("{} {of_types}", of_actor("actor"))), "position")
    } else if query.has_few_types() {
        let of_one = |kind: &String| select("INDEXED BY events_type", &format!("AND type = {kind}"));
        (types.iter().map(of_one).collect::<Vec<_>>().join(" UNION ALL "), "position")
    } else {
        (select("", &of_types), "position")
    };
    (format!("{found} ORDER BY {order} LIMIT ?3"), texts)
}

fn collect(mut rows: Rows<'_>) -> Result<Vec<Envelope>, SqliteError> {
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(read_event(row)?);
    }
    Ok(events)
}

/// The columns, in the order in which [`read_event`] expects them.
const COLUMNS: &str =
    "position, id, stream, version, type, schema, at, actor, request_id, data, sealed, leaf";

/// Inserts events.
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

/// Decodes an event.
fn read_event(row: &Row<'_>) -> Result<Envelope, SqliteError> {
    let position = Position::new(unsigned(row.get(0)?, "a position")?);
    let wrong =
        |field: &str| Corruption::field(format!("the event at position {position}"), field, "of its type");
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

/// Unreachable: the planner has validated the event and hashed the same canonical form.
fn unstorable(event: &Envelope, field: &str) -> SqliteError {
    StoreError::from(InternalError::encoding(
        format!("the `{field}` of the new event at position {}", event.position),
        "it has no canonical form",
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use store::{Env, EventStore, MasterKey};
    use tempfile::TempDir;

    use super::*;
    use crate::sqlite_store::SqliteStore;

    /// The query plan of a query.
    fn plan(connection: &Connection, query: &EventQuery) -> Vec<String> {
        let (sql, texts) = statement(query);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let numbers = ["0", "9", "100"].into_iter();
        let steps = statement.query_map(params_from_iter(numbers.chain(texts)), |row| row.get(3)).unwrap();
        steps.map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn queries_use_an_index_without_sorting() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("aegis.sqlite");
        let sqlite = std::sync::Arc::new(SqliteStore::open(&path).unwrap());
        let env = Env::system();
        EventStore::open(sqlite, MasterKey::generate(&env), env).await.unwrap();
        let connection = Connection::open(&path).unwrap();
        let (stream, actor) = (StreamId::new("system").ok(), Some("system".to_owned()));
        let types = |count: usize| (0..count).map(|number| format!("Type{number}")).collect::<Vec<_>>();
        let whole = EventQuery::default();
        for (query, index) in [
            (whole.clone(), "PRIMARY KEY"),
            (EventQuery { types: types(1), ..whole.clone() }, "events_type"),
            (EventQuery { types: types(64), ..whole.clone() }, "events_type"),
            (EventQuery { types: types(200), ..whole.clone() }, "PRIMARY KEY"),
            (EventQuery { actor: actor.clone(), ..whole.clone() }, "events_actor"),
            (EventQuery { actor: actor.clone(), types: types(2), ..whole.clone() }, "events_actor"),
            (EventQuery { stream: stream.clone(), ..whole.clone() }, "sqlite_autoindex_events_1"),
            (EventQuery { stream, actor, types: types(2), ..whole }, "sqlite_autoindex_events_1"),
        ] {
            let plan = plan(&connection, &query);
            let reading: Vec<_> = plan.iter().filter(|step| step.contains("events")).collect();
            assert_eq!(reading.len(), if index == "events_type" { query.types.len() } else { 1 }, "{plan:?}");
            assert!(
                reading.iter().all(|step| step.starts_with("SEARCH") && step.contains(index)),
                "{plan:?}"
            );
            assert!(!plan.iter().any(|step| step.contains("B-TREE")), "expected no sorting: {plan:?}");
        }
    }
}
