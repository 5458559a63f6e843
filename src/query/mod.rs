//! Queries: rows of read models, and how fresh they are. Never events, except to ask where the log's head is.

use std::sync::Arc;
use std::time::Duration;

use domain::{EmailAddress, UserId};
use projections::{USERS, UserRow};
use store::{EventStore, Position, ReadModels, Row, StoreError};

/// How long a request waits for a projection before it answers without, or gives up.
pub const FRESHNESS_BOUND: Duration = Duration::from_secs(2);

/// Why a query was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The projection has not reached the position in time. What it does not show may exist all the same.
    #[error("the read model `users` is behind the log: it has not reached position {wanted} within 2 s")]
    Behind {
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
    rows: Arc<dyn ReadModels>,
}

impl UserQueries {
    /// Queries of these rows, as fresh as this log.
    #[must_use]
    pub fn new(store: EventStore, rows: Arc<dyn ReadModels>) -> Self {
        Self { store, rows }
    }

    /// The user of that id; `None` only if the rows have reached the head of the log and still do not show one.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if the rows may yet be missing somebody.
    pub async fn by_id(&self, id: UserId) -> Result<Option<UserRow>, QueryError> {
        let key = [id.to_string()];
        if let Some(row) = self.rows.rows(&USERS, &key).await?.remove(&key[0]) {
            return typed(&row).map(Some);
        }
        self.reach_head().await?;
        self.rows.rows(&USERS, &key).await?.remove(&key[0]).as_ref().map(typed).transpose()
    }

    /// The user of that e-mail address, if the rows show one already. `None` says nothing; [`UserQueries::by_email`]
    /// makes sure.
    ///
    /// # Errors
    /// [`QueryError::Store`] if the rows cannot be read.
    pub async fn shown_by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        self.rows.find(&USERS, "email_key", &email.key()).await?.first().map(typed).transpose()
    }

    /// The user of that e-mail address; `None` only if the rows have reached the head of the log and still do not
    /// show one.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if the rows may yet be missing somebody.
    pub async fn by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        if let Some(row) = self.shown_by_email(email).await? {
            return Ok(Some(row));
        }
        self.reach_head().await?;
        self.shown_by_email(email).await
    }

    /// A page of users by ascending id, above `after`, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError::Store`] if they cannot be read.
    pub async fn page(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserRow>, QueryError> {
        let after = after.map(|id| id.to_string());
        self.rows.page(&USERS, after.as_deref(), limit).await?.iter().map(typed).collect()
    }

    /// Waits until the rows show the log up to `position`, for a caller who was told of it.
    ///
    /// # Errors
    /// [`QueryError::BeyondHead`] if there is no such position yet, [`QueryError::Behind`] if the rows do not get there in time.
    pub async fn reach(&self, position: Position) -> Result<(), QueryError> {
        if self.store.signals().borrow().projected(USERS.name) >= position {
            return Ok(());
        }
        let head = self.store.head().await?.position;
        if position > head {
            return Err(QueryError::BeyondHead { wanted: position, head });
        }
        self.wait(position).await
    }

    /// Waits, for at most [`FRESHNESS_BOUND`], until the rows show a write that has just been done: its author reads
    /// it back at once. If that takes longer the write stands all the same, so the wait just ends.
    pub async fn settle(&self, written: Position) {
        if self.wait(written).await.is_err() {
            tracing::warn!(
                position = written.get(),
                "a write was answered before the read model `users` shows it"
            );
        }
    }

    /// What is not in the rows does not exist only if they have everything that was there when the request began.
    async fn reach_head(&self) -> Result<(), QueryError> {
        let head = self.store.head().await?.position;
        self.wait(head).await
    }

    async fn wait(&self, position: Position) -> Result<(), QueryError> {
        if self.store.projected(USERS.name, position, FRESHNESS_BOUND).await {
            Ok(())
        } else {
            Err(QueryError::Behind { wanted: position })
        }
    }
}

fn typed(row: &Row) -> Result<UserRow, QueryError> {
    UserRow::from_row(row).map_err(|error| StoreError::corrupt(error.to_string()).into())
}
