//! Queries of users: rows of the read model `users`, and how fresh they are.

use std::sync::Arc;
use std::time::Duration;

use domain::{EmailAddress, UserId};
use projections::{Projection, UserRow, Users};
use store::{Checkpoint, EventStore, Position, ReadModels, Row, StoreError, StreamId, Table};

/// How long a request waits for a projection before it answers without, or gives up.
pub const FRESHNESS_BOUND: Duration = Duration::from_secs(2);

/// How long an event may wait for its row before rows are no longer taken at their word.
const TRUSTED_LAG: Duration = Duration::from_secs(1);
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
    /// [`QueryError::Behind`] if the rows may yet be missing somebody, or are known to be out of date about them.
    pub async fn by_id(&self, id: UserId) -> Result<Option<UserRow>, QueryError> {
        self.sought(&Key::Id(id.to_string())).await
    }

    /// The user of that e-mail address, if the rows show one already. `None` says nothing; [`UserQueries::by_email`]
    /// makes sure.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if the row is known to be out of date.
    pub async fn shown_by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        self.shown(&self.live(), &Key::Email(email.key())).await
    }

    /// The user of that e-mail address; `None` only if the rows have reached the head of the log and still do not
    /// show one.
    ///
    /// # Errors
    /// As [`UserQueries::by_id`].
    pub async fn by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        self.sought(&Key::Email(email.key())).await
    }

    /// A page of users by ascending id, above `after`, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError::Store`] if they cannot be read.
    pub async fn page(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserRow>, QueryError> {
        let (table, after) = (self.live(), after.map(|id| id.to_string()));
        let page = self.rows.slice(&table, after.as_deref(), limit).await?.rows;
        super::unless_gone(&self.store, &table)?;
        page.iter().map(typed).collect()
    }

    /// Waits until the rows show the log up to `position`, for a caller who was told of it.
    ///
    /// # Errors
    /// [`QueryError::BeyondHead`] if there is no such position yet, [`QueryError::Behind`] if the rows do not get there in time.
    pub async fn reach(&self, position: Position) -> Result<(), QueryError> {
        if self.store.signal().projected(&self.live().name) >= position {
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
    async fn sought(&self, key: &Key) -> Result<Option<UserRow>, QueryError> {
        if let Some(row) = self.shown(&self.live(), key).await? {
            return Ok(Some(row));
        }
        let head = self.store.head().await?.position;
        for _ in 0..ATTEMPTS {
            self.wait(head).await?;
            // What was heard may be a moment old. That nobody is there is said only of rows that have everything, by
            // the database's own word, before and after they were looked at.
            let (table, before) = self.stand().await?;
            if let Some(row) = self.shown(&table, key).await? {
                return Ok(Some(row));
            }
            let (table_after, after) = self.stand().await?;
            let as_far = table == table_after && before.rebuilds == after.rebuilds && before.position >= head;
            if as_far && !self.store.signal().gone.contains(&table.name) {
                return Ok(None);
            }
        }
        Err(QueryError::Behind { name: Users.name(), wanted: head })
    }

    /// The row of that key in a table, if there is one.
    async fn shown(&self, table: &Table, key: &Key) -> Result<Option<UserRow>, QueryError> {
        let row = match key {
            Key::Id(id) => self.rows.rows(table, std::slice::from_ref(id)).await?.remove(id),
            Key::Email(email) => self.rows.find(table, "email_key", email).await?.into_iter().next(),
        };
        match row {
            Some(row) => self.current(typed(&row)?).await.map(Some),
            None => Ok(None),
        }
    }

    /// A row is as good as the projector that keeps it. While that one stands still, the log itself is asked whether
    /// it has more on this user: who was deactivated must not come in by an old row.
    async fn current(&self, row: UserRow) -> Result<UserRow, QueryError> {
        if self.store.signal().lags(&self.live().name, TRUSTED_LAG) {
            let stream = StreamId::known(row.id.stream())?;
            if let Some(wanted) = self.store.moved_beyond(&stream, row.version).await? {
                return Err(QueryError::Behind { name: Users.name(), wanted });
            }
        }
        Ok(row)
    }

    /// The table that is read now, as far as this process has heard.
    fn live(&self) -> Table {
        super::live(&self.store, &Users)
    }

    /// The table that is read now and how far it is, as the database has it.
    async fn stand(&self) -> Result<(Table, Checkpoint), QueryError> {
        let (users, versions): (&dyn Projection, _) = (&Users, self.rows.versions(Users.name()).await?);
        let table = users.table(versions.map_or(1, |versions| versions.live));
        let checkpoint = self.rows.checkpoint(&table).await?;
        Ok((table, checkpoint))
    }

    async fn wait(&self, position: Position) -> Result<(), QueryError> {
        super::wait(&self.store, &Users, position).await
    }
}

/// What a user is looked for by.
enum Key {
    /// The id as shown.
    Id(String),
    /// The e-mail address, normalised.
    Email(String),
}

fn typed(row: &Row) -> Result<UserRow, QueryError> {
    UserRow::from_row(row).map_err(|error| StoreError::corrupt(error.to_string()).into())
}
