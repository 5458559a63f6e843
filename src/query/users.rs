//! Queries of users: rows of the read model `users`, with read-your-writes: a caller sees every write that
//! its request names a position for, and a user is only reported as absent by rows that are known to be
//! complete.

use std::sync::Arc;
use std::time::Duration;

use domain::{EmailAddress, UserId};
use projections::{Projection, UserRow, Users};
use store::{
    Corruption, EventStore, Position, ProjectionCheckpoint, ReadModelStore, Row, StoreError, StreamId, Table,
};

use super::{QueryError, ReadModel};

/// The projection lag up to which rows are trusted without asking the log.
const MAX_TRUSTED_LAG: Duration = Duration::from_secs(1);
/// How often a lookup is repeated because of a concurrent cutover to another version of the read model.
const MAX_ATTEMPTS: usize = 3;

#[derive(Clone)]
pub struct UserQueries(ReadModel);

impl UserQueries {
    pub(crate) fn new(store: EventStore, rows: Arc<dyn ReadModelStore>) -> Self {
        Self(ReadModel { store, rows, projection: &Users })
    }

    /// The user of that id. `None` is certain: the rows include the head of the log.
    pub(crate) async fn by_id(&self, id: UserId) -> Result<Option<UserRow>, QueryError> {
        self.find_or_confirm_absent(&UserKey::Id(id.to_string())).await
    }

    /// The user of that e-mail address in the present rows. `None` proves nothing, unlike with
    /// [`UserQueries::by_email`].
    pub(crate) async fn find_by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        self.find(&self.0.live_table(), &UserKey::Email(email.key())).await
    }

    /// The user of that e-mail address. `None` is certain: the rows include the head of the log.
    pub(crate) async fn by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        self.find_or_confirm_absent(&UserKey::Email(email.key())).await
    }

    /// At most `limit` users by ascending id, above `after`.
    ///
    /// # Errors
    /// [`QueryError::Store`] if the rows cannot be read.
    pub async fn page(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserRow>, QueryError> {
        let after = after.map(|id| id.to_string());
        let page = self.0.page(&self.0.live_table(), after.as_deref(), limit).await?;
        page.rows.iter().map(parse_row).collect()
    }

    /// Waits until the rows include `position`, which the caller has seen in an earlier response
    /// (read-your-writes).
    pub(crate) async fn wait_for_position(&self, position: Position) -> Result<(), QueryError> {
        if self.0.store.progress().applied_position(&self.0.live_table().name) >= position {
            return Ok(());
        }
        let head = self.0.store.head().await?.position;
        if position > head {
            return Err(QueryError::BeyondHead { wanted: position, head });
        }
        self.0.wait_until_projected(position).await
    }

    /// Waits, for at most 2 s, until the rows include a write, so that its author's next read sees
    /// it (read-your-writes). The write is durable even if this wait times out.
    pub async fn wait_until_visible(&self, written: Position) {
        if self.0.wait_until_projected(written).await.is_err() {
            tracing::warn!(
                position = written.get(),
                "answering a write before the read model `users` includes it"
            );
        }
    }

    /// A missing row proves absence only in rows that include everything the log had when the request began.
    async fn find_or_confirm_absent(&self, key: &UserKey) -> Result<Option<UserRow>, QueryError> {
        if let Some(row) = self.find(&self.0.live_table(), key).await? {
            return Ok(Some(row));
        }
        let head = self.0.store.head().await?.position;
        for _ in 0..MAX_ATTEMPTS {
            self.0.wait_until_projected(head).await?;
            // This process may know of a cutover or a rebuild late: the database says before and after the
            // lookup which table is live, and that it is complete.
            let (table, before) = self.live_table().await?;
            if let Some(row) = self.find(&table, key).await? {
                return Ok(Some(row));
            }
            let (table_after, after) = self.live_table().await?;
            let is_complete =
                table == table_after && before.rebuilds == after.rebuilds && before.position >= head;
            if is_complete && !self.0.store.progress().dropped.contains(&table.name) {
                return Ok(None);
            }
        }
        Err(self.0.behind(head))
    }

    async fn find(&self, table: &Table, key: &UserKey) -> Result<Option<UserRow>, QueryError> {
        let row = match key {
            UserKey::Id(id) => self.0.rows.rows(table, std::slice::from_ref(id)).await?.remove(id),
            UserKey::Email(email) => self.0.rows.find(table, "email_key", email).await?.into_iter().next(),
        };
        match row {
            Some(row) => self.reject_if_stale(parse_row(&row)?).await.map(Some),
            None => Ok(None),
        }
    }

    /// While the projection lags, asks the log whether the user has newer events: a deactivated user must not
    /// log in by way of a stale row.
    async fn reject_if_stale(&self, row: UserRow) -> Result<UserRow, QueryError> {
        if self.0.store.progress().is_lagging(&self.0.live_table().name, MAX_TRUSTED_LAG) {
            let stream = StreamId::from_trusted(row.id.stream())?;
            if let Some(wanted) = self.0.store.first_after_version(&stream, row.version).await? {
                return Err(self.0.behind(wanted));
            }
        }
        Ok(row)
    }

    /// The live table and its checkpoint according to the database.
    async fn live_table(&self) -> Result<(Table, ProjectionCheckpoint), QueryError> {
        let (users, versions): (&dyn Projection, _) = (&Users, self.0.rows.versions(Users.name()).await?);
        let table = users.table(versions.map_or(1, |versions| versions.live));
        let checkpoint = self.0.rows.checkpoint(&table).await?;
        Ok((table, checkpoint))
    }
}

enum UserKey {
    Id(String),
    /// Normalised.
    Email(String),
}

fn parse_row(row: &Row) -> Result<UserRow, QueryError> {
    UserRow::from_row(row)
        .map_err(|error| StoreError::from(Corruption::invalid("a row of `users`", error)).into())
}
