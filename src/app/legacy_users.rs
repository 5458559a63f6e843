//! Warns at startup if the database holds users of the legacy service that were not imported.

use domain::UserEvent;
use store::{EventQuery, EventStore, StoreError};

use super::database::Database;
use crate::config::DatabaseSettings;

/// Warns if the database has users of a legacy service and the log has none, or only the first administrator.
pub(super) async fn warn_unless_imported(
    database: &Database,
    settings: &DatabaseSettings,
    store: &EventStore,
) {
    let DatabaseSettings::Mongo { name, .. } = settings else { return };
    match is_import_due(database, store).await {
        Ok(true) => tracing::warn!(
            "the database holds a collection `users` of another service, and the log has no users: import them with \
             `aegis users import --from-mongodb \"$MONGODB_URL\" --database {name}`"
        ),
        Ok(false) => {}
        // Not every database user may read other collections.
        Err(error) => tracing::debug!(%error, "not determined whether there are users to import"),
    }
}

async fn is_import_due(database: &Database, store: &EventStore) -> Result<bool, StoreError> {
    let types = UserEvent::OPENING_TYPES.iter().map(|name| (*name).to_owned()).collect();
    let query = EventQuery { types, limit: 2, ..EventQuery::default() };
    let users = store.read_sealed(&query).await?;
    let is_unused = match users.as_slice() {
        [] => true,
        [only] => only.event_type != UserEvent::IMPORTED_TYPE,
        _ => false,
    };
    Ok(is_unused && database.has_legacy_users().await?)
}
