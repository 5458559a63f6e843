//! Errors inside this crate, and their conversion to [`StoreError`] with messages that name the remedy.

use rusqlite::ErrorCode;
use rusqlite::types::FromSqlError;
use store::{Corruption, RefusalReason, StoreError};

use crate::database_file::{BUSY_TIMEOUT, DatabaseFile};

/// An error inside this crate.
#[derive(Debug)]
pub(crate) enum SqliteError {
    /// SQLite failed; the transaction, if any, is rolled back.
    Sqlite(rusqlite::Error),
    /// `COMMIT` failed after it may have reached the disk.
    UnknownCommit(rusqlite::Error),
    /// Stored data or the request is invalid.
    Store(StoreError),
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<FromSqlError> for SqliteError {
    fn from(error: FromSqlError) -> Self {
        Corruption::invalid("a stored value", error).into()
    }
}

impl From<Corruption> for SqliteError {
    fn from(corruption: Corruption) -> Self {
        Self::Store(corruption.into())
    }
}

impl From<StoreError> for SqliteError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl SqliteError {
    /// Whether a table does not exist.
    pub(crate) fn is_missing_table(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.to_string().contains("no such table"))
    }

    /// Whether another process holds the write lock, so that nothing was written.
    pub(crate) fn is_locked_out(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
    }

    /// Whether the connection must be reopened. After a few harmless errors it remains usable.
    pub(crate) fn breaks_connection(&self) -> bool {
        let error = match self {
            Self::Store(_) => return false,
            Self::UnknownCommit(_) => return true,
            Self::Sqlite(error) => error,
        };
        let harmless = [ErrorCode::DatabaseBusy, ErrorCode::DiskFull, ErrorCode::ConstraintViolation];
        !error.sqlite_error_code().is_some_and(|code| harmless.contains(&code))
    }

    /// Converts to the error of the port.
    pub(crate) fn into_store_error(self, file: &DatabaseFile) -> StoreError {
        match self {
            Self::Sqlite(error) => into_store_error(error, file),
            Self::UnknownCommit(error) => StoreError::unavailable(
                format!(
                    "{file} failed during a commit, whose outcome is unknown: check the disk, then read back what \
                     was written"
                ),
                error,
            ),
            Self::Store(error) => error,
        }
    }

    /// As [`SqliteError::into_store_error`], of a database that is being opened: one that may not be used is
    /// refused.
    pub(crate) fn into_open_error(self, file: &DatabaseFile) -> StoreError {
        match self {
            Self::Sqlite(error) if is_access_denied(&error) => {
                RefusalReason::NotWritable { file: file.to_string(), reason: error.to_string() }.into()
            }
            failure => failure.into_store_error(file),
        }
    }
}

fn into_store_error(error: rusqlite::Error, file: &DatabaseFile) -> StoreError {
    let what = match error.sqlite_error_code() {
        _ if is_access_denied(&error) => not_writable(file),
        Some(ErrorCode::DiskFull) => format!(
            "the disk that holds {file} is full and nothing was written: free some space; Aegis then continues by \
             itself"
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => format!(
            "another process has locked {file} for {} s and nothing was written: wait for that process or end \
             it",
            BUSY_TIMEOUT.as_secs()
        ),
        Some(ErrorCode::SystemIoFailure) => format!("{file} cannot be read or written: check the disk"),
        Some(ErrorCode::NotADatabase) => {
            return RefusalReason::NotSqlite { file: file.to_string() }.into();
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            return Corruption::DamagedFile { file: file.to_string(), reason: error.to_string() }.into();
        }
        Some(ErrorCode::ConstraintViolation) => {
            return Corruption::UniqueIndexViolation { context: file.to_string(), index: error.to_string() }
                .into();
        }
        _ => format!("SQLite failed on {file}"),
    };
    StoreError::unavailable(what, error)
}

fn is_access_denied(error: &rusqlite::Error) -> bool {
    let denied = [ErrorCode::ReadOnly, ErrorCode::PermissionDenied, ErrorCode::CannotOpen];
    error.sqlite_error_code().is_some_and(|code| denied.contains(&code))
}

fn not_writable(file: &DatabaseFile) -> String {
    format!(
        "{file} cannot be opened for writing: the user who runs Aegis needs write permission for the file, its \
         `-wal` and `-shm`, and their folder"
    )
}

/// The result, or `None` if the table does not exist yet.
pub(crate) fn none_if_table_missing<T>(found: Result<T, SqliteError>) -> Result<Option<T>, SqliteError> {
    match found {
        Err(failure) if failure.is_missing_table() => Ok(None),
        found => found.map(Some),
    }
}
