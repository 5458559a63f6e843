//! Write transactions.

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::error::SqliteError;

/// Begins a write transaction. `BEGIN IMMEDIATE` takes the write lock at once: whatever the transaction reads stays
/// true until it commits, and it cannot fail half-way because another process writes.
pub(crate) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, SqliteError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// Commits, and tells apart how it can fail.
pub(crate) fn commit(transaction: &Transaction<'_>) -> Result<(), SqliteError> {
    match transaction.execute_batch("COMMIT") {
        Ok(()) => Ok(()),
        // Still open, so not committed: dropping the transaction rolls it back.
        Err(error) if !transaction.is_autocommit() => Err(error.into()),
        // SQLite has rolled it back. A disk is full before the last page of a commit is written, never after.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Err(error.into()),
        // SQLite has rolled it back as well, but if what failed came after the last page was written (such as the sync
        // of the file), a crash before the next commit would find the transaction whole.
        Err(error) => Err(SqliteError::UnknownCommit(error)),
    }
}
