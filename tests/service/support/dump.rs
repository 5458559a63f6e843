//! The raw content of a database, read directly.

use std::fs;
use std::path::Path;

use mongodb::Database;
use mongodb::bson::{RawDocumentBuf, doc};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

use super::Store;

/// The name and the bytes of every table or collection.
pub(crate) async fn dump(store: &Store) -> Vec<(String, Vec<u8>)> {
    match store.mongo_database().await {
        Some(database) => dump_mongo(&database).await,
        None => dump_sqlite(&store.file()),
    }
}

async fn dump_mongo(database: &Database) -> Vec<(String, Vec<u8>)> {
    let mut dumped = Vec::new();
    for collection in database.list_collection_names().await.unwrap() {
        let mut found = database.collection::<RawDocumentBuf>(&collection).find(doc! {}).await.unwrap();
        let mut bytes = Vec::new();
        while found.advance().await.unwrap() {
            bytes.extend_from_slice(found.current().as_bytes());
        }
        dumped.push((collection, bytes));
    }
    dumped
}

fn dump_sqlite(file: &Path) -> Vec<(String, Vec<u8>)> {
    let connection = Connection::open(file).unwrap();
    let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    names.into_iter().map(|name| (name.clone(), cells(&connection, &name))).collect()
}

fn cells(connection: &Connection, table: &str) -> Vec<u8> {
    let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut bytes = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        for column in 0..columns {
            match row.get_ref(column).unwrap() {
                ValueRef::Text(cell) | ValueRef::Blob(cell) => bytes.extend_from_slice(cell),
                ValueRef::Integer(cell) => bytes.extend_from_slice(cell.to_string().as_bytes()),
                ValueRef::Null | ValueRef::Real(_) => {}
            }
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Whether the bytes contain the text, in upper or lower case.
pub(crate) fn contains_text(bytes: &[u8], text: &str) -> bool {
    let (bytes, text) = (bytes.to_ascii_lowercase(), text.to_ascii_lowercase());
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The raw bytes of a copy of an embedded database, after deleting the rows of `table` from the copy. Remains
/// of the rows are in places where they do not belong. The database must not be in use.
pub(crate) fn raw_bytes_without(store: &Store, table: &str) -> Vec<u8> {
    let copy = TempDir::new().unwrap();
    let file = store.file();
    let beside = |suffix: &str| file.with_file_name(format!("{}{suffix}", aegis::config::DATABASE_FILE));
    for suffix in ["", "-wal"] {
        if beside(suffix).exists() {
            let name = beside(suffix).file_name().unwrap().to_owned();
            fs::copy(beside(suffix), copy.path().join(name)).unwrap();
        }
    }
    let copied = copy.path().join(aegis::config::DATABASE_FILE);
    let connection = Connection::open(&copied).unwrap();
    connection.pragma_update(None, "secure_delete", true).unwrap();
    connection.execute_batch(&format!("DELETE FROM \"{table}\"")).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    connection.close().unwrap();
    let mut bytes = Vec::new();
    for left in fs::read_dir(copy.path()).unwrap() {
        bytes.extend(fs::read(left.unwrap().path()).unwrap());
    }
    bytes
}
