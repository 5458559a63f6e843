//! Writes that a power failure may undo.

use rusqlite::Connection;

use crate::error::SqliteError;

/// A connection whose commits are not synced to disk until it is dropped. Losing the newest lease in a power
/// failure is harmless, and syncing several renewals per second would keep the disk busy.
pub(crate) struct RelaxedDurability<'a>(&'a Connection);

impl<'a> RelaxedDurability<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Result<Self, SqliteError> {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Self(connection))
    }
}

impl std::ops::Deref for RelaxedDurability<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Drop for RelaxedDurability<'_> {
    fn drop(&mut self) {
        // If this failed, the next append would be acknowledged before it is durable.
        if let Err(error) = self.0.pragma_update(None, "synchronous", "FULL") {
            tracing::error!(%error, "restoring durable commits failed; aborting before an append can be lost");
            std::process::abort();
        }
    }
}
