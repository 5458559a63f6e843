//! Queries of users: rows of the read model `users`, and how fresh they are.

use std::sync::Arc;
use std::time::Duration;

use domain::{EmailAddress, UserId};
use projections::{Projection, UserRow, Users};
use store::{EventStore, Position, ProjectionCheckpoint, ReadModelStore, Row, StoreError, StreamId, Table};

/// How long a request waits for a projection before it answers without, or gives up.
pub const PROJECTION_WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an event may wait for its row before rows are no longer taken at their word.
const MAX_TRUSTED_LAG: Duration = Duration::from_secs(1);
/// How often nobody is looked for anew because the tables were switched meanwhile.
const ATTEMPTS: usize = 3;

/// Why a query was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The projection has not reached the position in time. What it does not show may exist all the same.
    #[error("the read model `{name}` is behind the log: it has not reached position {wanted} within 2 s")]
    Behind {
        /// The projection.
        name: &'static str,
        /// The position asked for.
        wanted: Position,
    },
    /// The caller asks for a position that the log has not reached.
    #[error("position {wanted} is beyond the head of the log, which is at {head}")]
    BeyondHead {
        /// The position asked for.
        wanted: Position,
        /// Where the log is.
        head: Position,
    },
    /// The database, or a row, could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the `users` rows.
#[derive(Clone)]
pub struct UserQueries {
    store: EventStore,
    rows: Arc<dyn ReadModelStore>,
}

impl UserQueries {
    /// Queries of these rows, as fresh as this log.
    #[must_use]
    pub fn new(store: EventStore, rows: Arc<dyn ReadModelStore>) -> Self {
        Self { store, rows }
    }

    /// The user of that id; `None` only if the rows have reached the head of the log and still do not show one.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if the rows may yet be missing somebody, or are known to be out of date about them.
    pub async fn by_id(&self, id: UserId) -> Result<Option<UserRow>, QueryError> {
        self.find_or_confirm_absent(&UserKey::Id(id.to_string())).await
    }

    /// The user of that e-mail address, if the rows show one already. `None` says nothing; [`UserQueries::by_email`]
    /// makes sure.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if the row is known to be out of date.
    pub async fn find_by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        self.find(&self.cached_live_table(), &UserKey::Email(email.key())).await
    }

    /// The user of that e-mail address; `None` only if the rows have reached the head of the log and still do not
    /// show one.
    ///
    /// # Errors
    /// As [`UserQueries::by_id`].
    pub async fn by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        self.find_or_confirm_absent(&UserKey::Email(email.key())).await
    }

    /// A page of users by ascending id, above `after`, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError::Store`] if they cannot be read.
    pub async fn page(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserRow>, QueryError> {
        let (table, after) = (self.cached_live_table(), after.map(|id| id.to_string()));
        let page = self.rows.row_page(&table, after.as_deref(), limit).await?.rows;
        super::ensure_not_dropped(&self.store, &table)?;
        page.iter().map(parse_row).collect()
    }

    /// Waits until the rows show the log up to `position`, for a caller who was told of it.
    ///
    /// # Errors
    /// [`QueryError::BeyondHead`] if there is no such position yet, [`QueryError::Behind`] if the rows do not get there in time.
    pub async fn wait_for_position(&self, position: Position) -> Result<(), QueryError> {
        if self.store.progress().applied_position(&self.cached_live_table().name) >= position {
            return Ok(());
        }
        let head = self.store.head().await?.position;
        if position > head {
            return Err(QueryError::BeyondHead { wanted: position, head });
        }
        self.wait_until_projected(position).await
    }

    /// Waits, for at most [`PROJECTION_WAIT_TIMEOUT`], until the rows show a write that has just been done: its author reads
    /// it back at once. If that takes longer the write stands all the same, so the wait just ends.
    pub async fn wait_until_visible(&self, written: Position) {
        if self.wait_until_projected(written).await.is_err() {
            tracing::warn!(
                position = written.get(),
                "a write was answered before the read model `users` shows it"
            );
        }
    }

    /// What is not in the rows does not exist only if they have everything that was there when the request began.
    async fn find_or_confirm_absent(&self, key: &UserKey) -> Result<Option<UserRow>, QueryError> {
        if let Some(row) = self.find(&self.cached_live_table(), key).await? {
            return Ok(Some(row));
        }
        let head = self.store.head().await?.position;
        for _ in 0..ATTEMPTS {
            self.wait_until_projected(head).await?;
            // What was heard may be a moment old. That nobody is there is said only of rows that have everything, by
            // the database's own word, before and after they were looked at.
            let (table, before) = self.live_table().await?;
            if let Some(row) = self.find(&table, key).await? {
                return Ok(Some(row));
            }
            let (table_after, after) = self.live_table().await?;
            let is_complete =
                table == table_after && before.rebuilds == after.rebuilds && before.position >= head;
            if is_complete && !self.store.progress().dropped.contains(&table.name) {
                return Ok(None);
            }
        }
        Err(QueryError::Behind { name: Users.name(), wanted: head })
    }

    /// The row of that key in a table, if there is one.
    async fn find(&self, table: &Table, key: &UserKey) -> Result<Option<UserRow>, QueryError> {
        let row = match key {
            UserKey::Id(id) => self.rows.rows(table, std::slice::from_ref(id)).await?.remove(id),
            UserKey::Email(email) => self.rows.find(table, "email_key", email).await?.into_iter().next(),
        };
        match row {
            Some(row) => self.reject_if_stale(parse_row(&row)?).await.map(Some),
            None => Ok(None),
        }
    }

    /// A row is as good as the projector that keeps it. While that one stands still, the log itself is asked whether
    /// it has more on this user: who was deactivated must not come in by an old row.
    async fn reject_if_stale(&self, row: UserRow) -> Result<UserRow, QueryError> {
        if self.store.progress().is_lagging(&self.cached_live_table().name, MAX_TRUSTED_LAG) {
            let stream = StreamId::from_trusted(row.id.stream())?;
            if let Some(wanted) = self.store.first_after_version(&stream, row.version).await? {
                return Err(QueryError::Behind { name: Users.name(), wanted });
            }
        }
        Ok(row)
    }

    /// The table that is read now, as far as this process has heard.
    fn cached_live_table(&self) -> Table {
        super::live_table(&self.store, &Users)
    }

    /// The table that is read now and how far it is, as the database has it.
    async fn live_table(&self) -> Result<(Table, ProjectionCheckpoint), QueryError> {
        let (users, versions): (&dyn Projection, _) = (&Users, self.rows.versions(Users.name()).await?);
        let table = users.table(versions.map_or(1, |versions| versions.live));
        let checkpoint = self.rows.checkpoint(&table).await?;
        Ok((table, checkpoint))
    }

    async fn wait_until_projected(&self, position: Position) -> Result<(), QueryError> {
        super::wait_until_projected(&self.store, &Users, position).await
    }
}

/// What a user is looked for by.
enum UserKey {
    /// The id as shown.
    Id(String),
    /// The e-mail address, normalised.
    Email(String),
}

fn parse_row(row: &Row) -> Result<UserRow, QueryError> {
    UserRow::from_row(row).map_err(|error| StoreError::corrupt(error.to_string()).into())
}
