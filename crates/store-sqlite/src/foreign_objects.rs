//! Compares the schema of the database with the one that this crate creates. A trigger, a view or a changed
//! table of another program could copy a data key before it is destroyed, or change rows behind the service's
//! back.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rusqlite::Connection;
use store::{RefusalReason, StoreError};

use crate::database_file::DatabaseFile;
use crate::error::SqliteError;
use crate::schema::{READ_MODELS, SCHEMA, TILES};

/// The objects of a schema, by type and name: the table each belongs to, and its SQL text, which automatic
/// indexes lack.
type Objects = BTreeMap<(String, String), (String, Option<String>)>;

/// Refuses a database with an object that Aegis has not created, or not so.
pub(crate) fn reject_foreign_objects(
    connection: &Connection,
    file: &DatabaseFile,
) -> Result<(), SqliteError> {
    let expected = expected()?;
    for ((kind, name), (table, sql)) in objects(connection)? {
        let is_known = match expected.get(&(kind.clone(), name.clone())) {
            Some((known_table, known_sql)) => *known_table == table && *known_sql == sql,
            None => is_internal(&name) || is_of_read_model(&kind, &name, &table, sql.as_deref()),
        };
        if !is_known {
            let removal = format!("DROP {} \"{name}\"", kind.to_uppercase());
            let object = format!("the {kind} `{name}` on `{table}`");
            let database = file.to_string();
            return Err(StoreError::from(RefusalReason::ForeignObject { database, object, removal }).into());
        }
    }
    Ok(())
}

/// The objects outside read models, as SQLite describes them once they are created.
fn expected() -> Result<&'static Objects, SqliteError> {
    static EXPECTED: OnceLock<Objects> = OnceLock::new();
    if let Some(expected) = EXPECTED.get() {
        return Ok(expected);
    }
    let empty = Connection::open_in_memory()?;
    empty.execute_batch(SCHEMA)?;
    empty.execute_batch(READ_MODELS)?;
    empty.execute_batch(TILES)?;
    let created = objects(&empty)?;
    Ok(EXPECTED.get_or_init(|| created))
}

fn objects(connection: &Connection) -> Result<Objects, SqliteError> {
    let mut statement = connection.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let object = |row: &rusqlite::Row<'_>| {
        let sql: Option<String> = row.get(3)?;
        let sql = sql.map(|sql| sql.split_whitespace().collect::<Vec<_>>().join(" "));
        Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, sql)))
    };
    Ok(statement.query_map([], object)?.collect::<Result<_, _>>()?)
}

/// SQLite's own tables, such as the statistics of `ANALYZE`, and its automatic indexes. Their names are
/// reserved.
fn is_internal(name: &str) -> bool {
    name.starts_with("sqlite_")
}

/// Whether an object is the table of a read model, or one of its indexes: `users_1`, with plain columns.
fn is_of_read_model(kind: &str, name: &str, table: &str, sql: Option<&str>) -> bool {
    let Some(sql) = sql.filter(|_| is_read_model(table)) else { return false };
    if kind == "table" {
        let columns = sql.strip_prefix(&format!("CREATE TABLE \"{name}\" ("));
        let columns = columns.and_then(|columns| columns.strip_suffix(") STRICT"));
        return columns.is_some_and(|columns| columns.split(", ").all(is_plain_column));
    }
    let column = name.strip_prefix(table).and_then(|column| column.strip_prefix('_'));
    kind == "index"
        && column
            .is_some_and(|column| sql == format!("CREATE INDEX \"{name}\" ON \"{table}\" (\"{column}\")"))
}

fn is_read_model(table: &str) -> bool {
    table.rsplit_once('_').is_some_and(|(projection, number)| {
        !projection.is_empty() && !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// A column without a default, a check, a computed value or a unique index beside the key's.
fn is_plain_column(column: &str) -> bool {
    let Some((name, kind)) = column.strip_prefix('"').and_then(|column| column.split_once("\" ")) else {
        return false;
    };
    let kind = kind.strip_suffix(" PRIMARY KEY NOT NULL").unwrap_or(kind);
    matches!(kind, "TEXT" | "INTEGER") && !name.contains('"')
}
