//! Queries of webhooks: rows of the read model `webhooks`.

use std::sync::Arc;

use domain::{UserId, WebhookId};
use projections::{WebhookRow, Webhooks};
use store::{EventStore, Position, ReadModelStore};

use super::{QueryError, ReadModel, RowsQuery};

#[derive(Clone)]
pub struct WebhookQueries(ReadModel);

impl WebhookQueries {
    pub(crate) fn new(store: EventStore, rows: Arc<dyn ReadModelStore>) -> Self {
        Self(ReadModel { store, rows, projection: &Webhooks })
    }

    /// The webhooks of a user by id, at most 100.
    pub(crate) async fn of(&self, owner: UserId) -> Result<Vec<WebhookRow>, QueryError> {
        let owner = owner.to_string();
        let query = RowsQuery::Find { column: "owner", text: &owner };
        let (_, found) = self.0.read_complete(query).await?;
        found.rows.iter().map(|row| Ok(WebhookRow::from_row(row)?)).collect()
    }

    /// The webhooks of a user as far as the rows have them. Only webhooks without a slot are found nowhere else,
    /// so rows that cannot be read are no error.
    pub(crate) async fn known_of(&self, owner: UserId) -> Vec<WebhookId> {
        match self.of(owner).await {
            Ok(rows) => rows.into_iter().map(|row| row.id).collect(),
            Err(error) => {
                tracing::warn!(%error, "webhooks without a slot were not looked for in the read model");
                Vec::new()
            }
        }
    }

    /// The row of a webhook, if the present rows have it.
    pub(crate) async fn find(&self, id: WebhookId) -> Result<Option<WebhookRow>, QueryError> {
        let id = id.to_string();
        let (_, found) = self.0.read_complete(RowsQuery::Find { column: "id", text: &id }).await?;
        Ok(found.rows.first().map(WebhookRow::from_row).transpose()?)
    }

    /// A page of all webhooks by ascending id, above `after`, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if the rows are not complete, [`QueryError::Store`] if they cannot be read.
    pub async fn page(&self, after: Option<WebhookId>, limit: usize) -> Result<Vec<WebhookRow>, QueryError> {
        let after = after.map(|id| id.to_string());
        let query = RowsQuery::Page { after: after.as_deref(), limit };
        let (_, page) = self.0.read_complete(query).await?;
        page.rows.iter().map(|row| Ok(WebhookRow::from_row(row)?)).collect()
    }

    /// Waits until the rows include `position`, which must exist in the log.
    pub(crate) async fn wait_for_position(&self, position: Position) -> Result<(), QueryError> {
        self.0.wait_until_projected(position).await
    }

    /// The last position in the rows that this process knows of.
    pub(crate) fn projected_position(&self) -> Position {
        self.0.store.progress().applied_position(&self.0.live_table().name)
    }
}
