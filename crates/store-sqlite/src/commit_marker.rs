//! Tells without waiting whether any process has committed since the last time, by a connection that only asks for
//! that: SQLite counts in shared memory what other connections commit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use crate::connection::{ConnectionRole, connect};
use crate::database_file::DatabaseFile;
use crate::error::SqliteError;

pub(crate) struct CommitMarker {
    file: Arc<DatabaseFile>,
    /// Never opened again after an error: another connection would count from the same number.
    connection: Mutex<Option<Connection>>,
}

impl CommitMarker {
    pub(crate) fn open(file: Arc<DatabaseFile>) -> Result<Self, SqliteError> {
        let connection = connect(&file, ConnectionRole::Reader)?;
        connection.busy_timeout(Duration::ZERO)?;
        Ok(Self { file, connection: Mutex::new(Some(connection)) })
    }

    /// The number; `None` if it cannot be found out now.
    pub(crate) fn get(&self) -> Option<u64> {
        // The connection would go on counting the commits to a file that was replaced.
        self.file.check_not_replaced().ok()?;
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        match connection.as_ref().map(data_version)? {
            Ok(version) => Some(version),
            Err(error) if error.is_locked_out() => None,
            Err(failure) => {
                let error = failure.into_store_error(&self.file);
                tracing::debug!(%error, "commits are no longer counted; the log is read instead");
                *connection = None;
                None
            }
        }
    }
}

fn data_version(connection: &Connection) -> Result<u64, SqliteError> {
    let mut statement = connection.prepare_cached("PRAGMA data_version")?;
    let version: i64 = statement.query_row([], |row| row.get(0))?;
    Ok(version.cast_unsigned())
}
