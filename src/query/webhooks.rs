//! Queries of webhooks: rows of the read model `webhooks`.

use std::sync::Arc;

use domain::{UserId, WebhookId};
use projections::{WebhookRow, Webhooks};
use store::{EventStore, Position, ReadModelStore};

use super::users::QueryError;

/// Reads the `webhooks` rows.
#[derive(Clone)]
pub struct WebhookQueries {
    store: EventStore,
    rows: Arc<dyn ReadModelStore>,
}

impl WebhookQueries {
    /// Queries of these rows, as fresh as this log.
    #[must_use]
    pub fn new(store: EventStore, rows: Arc<dyn ReadModelStore>) -> Self {
        Self { store, rows }
    }

    /// The webhooks of a user, at most 100, by id.
    ///
    /// # Errors
    /// [`QueryError::Store`] if they cannot be read.
    pub async fn of(&self, owner: UserId) -> Result<Vec<WebhookRow>, QueryError> {
        let table = super::live_table(&self.store, &Webhooks);
        let found = self.rows.find(&table, "owner", &owner.to_string()).await?;
        super::ensure_not_dropped(&self.store, &table)?;
        found.iter().map(|row| Ok(WebhookRow::from_row(row)?)).collect()
    }

    /// A page of all webhooks by ascending id, above `after`, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError::Store`] if they cannot be read.
    pub async fn page(&self, after: Option<WebhookId>, limit: usize) -> Result<Vec<WebhookRow>, QueryError> {
        let (table, after) = (super::live_table(&self.store, &Webhooks), after.map(|id| id.to_string()));
        let page = self.rows.row_page(&table, after.as_deref(), limit).await?.rows;
        super::ensure_not_dropped(&self.store, &table)?;
        page.iter().map(|row| Ok(WebhookRow::from_row(row)?)).collect()
    }

    /// Waits until the rows show the log up to `position`, which is known to exist.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if they do not get there in time.
    pub async fn wait_for_position(&self, position: Position) -> Result<(), QueryError> {
        super::wait_until_projected(&self.store, &Webhooks, position).await
    }

    /// How far the rows are, as far as this process has heard.
    #[must_use]
    pub fn projected_position(&self) -> Position {
        self.store.progress().applied_position(&super::live_table(&self.store, &Webhooks).name)
    }
}
