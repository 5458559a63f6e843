//! Queries of webhooks: rows of the read model `webhooks`.

use std::sync::Arc;

use domain::{UserId, WebhookId};
use projections::{WebhookRow, Webhooks};
use store::{EventStore, Position, ReadModelStore};

use super::{QueryError, RowsQuery};

#[derive(Clone)]
pub struct WebhookQueries {
    store: EventStore,
    rows: Arc<dyn ReadModelStore>,
}

impl WebhookQueries {
    #[must_use]
    pub fn new(store: EventStore, rows: Arc<dyn ReadModelStore>) -> Self {
        Self { store, rows }
    }

    /// The webhooks of a user by id, at most 100.
    ///
    /// # Errors
    /// [`QueryError::Store`] if they cannot be read.
    pub async fn of(&self, owner: UserId) -> Result<Vec<WebhookRow>, QueryError> {
        let owner = owner.to_string();
        let query = RowsQuery::Find { column: "owner", text: &owner };
        let (_, found) = super::read_complete(&self.store, &self.rows, &Webhooks, query).await?;
        found.rows.iter().map(|row| Ok(WebhookRow::from_row(row)?)).collect()
    }

    /// A page of all webhooks by ascending id, above `after`, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError::Store`] if they cannot be read.
    pub async fn page(&self, after: Option<WebhookId>, limit: usize) -> Result<Vec<WebhookRow>, QueryError> {
        let after = after.map(|id| id.to_string());
        let query = RowsQuery::Page { after: after.as_deref(), limit };
        let (_, page) = super::read_complete(&self.store, &self.rows, &Webhooks, query).await?;
        page.rows.iter().map(|row| Ok(WebhookRow::from_row(row)?)).collect()
    }

    /// Waits until the rows include `position`, which must exist in the log.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if they do not in time.
    pub async fn wait_for_position(&self, position: Position) -> Result<(), QueryError> {
        super::wait_until_projected(&self.store, &Webhooks, position).await
    }

    /// The last position in the rows that this process knows of.
    #[must_use]
    pub fn projected_position(&self) -> Position {
        self.store.progress().applied_position(&super::live_table(&self.store, &Webhooks).name)
    }
}
