//! Write transactions.

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::error::SqliteError;

/// Begins a write transaction. `BEGIN IMMEDIATE` takes the write lock at once: whatever the transaction reads
/// stays true until it commits, and it cannot fail half-way because another process writes.
pub(crate) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, SqliteError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// Commits, and distinguishes "not committed" from "unknown".
pub(crate) fn commit(transaction: &Transaction<'_>) -> Result<(), SqliteError> {
    match transaction.execute_batch("COMMIT") {
        Ok(()) => Ok(()),
        // The transaction is still open, so not committed; dropping it rolls it back.
        Err(error) if !transaction.is_autocommit() => Err(error.into()),
        // Rolled back: a full disk is reported before the last page of a commit is written, never after.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Err(error.into()),
        // Rolled back too, but if the failure came after the last page was written (for example in the sync
        // of the file), recovery after a crash before the next commit would find the transaction complete.
        Err(error) => Err(SqliteError::UnknownCommit(error)),
    }
}
