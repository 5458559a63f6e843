//! Queries of users: rows of the read model `users`, with read-your-writes: a caller sees every write that
//! its request names a position for, and a user is only reported as absent by rows that are known to be
//! complete.

use std::sync::Arc;

use domain::{ClaimKind, EmailAddress, UserId, Username};
use projections::users::lookup;
use projections::{UserLookup, UserRow, Users};
use store::{
    Claim, Corruption, EventStore, Position, ProjectionCheckpoint, ReadModelStore, Row, StoreError,
    StreamCache, StreamId,
};

use super::{QueryError, ReadModel, RowsQuery};

/// How often a lookup is repeated because the rows lacked something, each time after waiting for it.
const MAX_ATTEMPTS: usize = 3;

#[derive(Clone)]
pub struct UserQueries {
    pub(super) model: ReadModel,
    cache: Option<StreamCache<Arc<UserRow>>>,
}

impl UserQueries {
    #[must_use]
    pub fn new(store: EventStore, rows: Arc<dyn ReadModelStore>) -> Self {
        Self { model: ReadModel { store, rows, projection: &Users }, cache: None }
    }

    /// Keeps the rows of that many users in memory, which are found by id.
    #[must_use]
    pub fn with_cache(mut self, capacity: usize) -> Self {
        self.cache = (capacity > 0).then(|| StreamCache::new(self.model.store.clone(), capacity));
        self
    }

    /// The user of that id. `None` is certain: the rows include the head of the log.
    ///
    /// # Errors
    /// [`QueryError`] if it cannot be found out.
    pub async fn by_id(&self, id: UserId) -> Result<Option<Arc<UserRow>>, QueryError> {
        let key = || UserKey::Id(id.to_string());
        let Some(cache) = &self.cache else {
            return Ok(self.find_or_confirm_absent(&key()).await?.map(|found| Arc::new(found.row)));
        };
        let stream = StreamId::from_trusted(id.stream())?;
        if let Some(row) = cache.get(&stream).await {
            return Ok(Some(row));
        }
        let Some(FoundUser { row, position }) = self.find_or_confirm_absent(&key()).await? else {
            return Ok(None);
        };
        let row = Arc::new(row);
        cache.insert(stream, Arc::clone(&row), position);
        Ok(Some(row))
    }

    /// Whether the present rows include every event of a user, so that [`UserQueries::by_id`] need not wait.
    pub(crate) async fn is_current(&self, id: UserId) -> Result<bool, QueryError> {
        let id = id.to_string();
        let confirmation = self.model.store.confirm_head().await?;
        let (_, page) = self.model.read(RowsQuery::Find { column: "id", text: &id }).await?;
        Ok(match lookup::evaluate(&self.model.store, &page, confirmation).await? {
            UserLookup::Found(..) => true,
            UserLookup::NotFound(_) => page.is_current(),
            UserLookup::Behind(_) | UserLookup::Unconfirmed => false,
        })
    }

    /// The user of that e-mail address in the present rows. `None` proves nothing, unlike with
    /// [`UserQueries::by_email`].
    pub(crate) async fn find_by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        Ok(self.find(&UserKey::Email(email.key())).await?.0.map(|found| found.row))
    }

    /// The user of that e-mail address. `None` is certain: the rows include the head of the log.
    pub(crate) async fn by_email(&self, email: &EmailAddress) -> Result<Option<UserRow>, QueryError> {
        Ok(self.find_or_confirm_absent(&UserKey::Email(email.key())).await?.map(|found| found.row))
    }

    /// The user who holds the claim on that e-mail address, according to the log; rows may lag.
    pub(crate) async fn claimant_of_email(&self, email: &EmailAddress) -> Result<Option<UserId>, QueryError> {
        let owner = self.claim_owner(ClaimKind::Email, &email.key()).await?;
        Ok(owner.and_then(|id| UserId::parse(&id).ok()))
    }

    /// The user of that username. `None` is certain: the rows include the head of the log.
    pub(crate) async fn by_username(&self, username: &Username) -> Result<Option<UserRow>, QueryError> {
        Ok(self.find_or_confirm_absent(&UserKey::Username(username.key())).await?.map(|found| found.row))
    }

    /// At most `limit` users by ascending id, above `after`.
    ///
    /// # Errors
    /// [`QueryError::Store`] if the rows cannot be read.
    pub async fn page(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserRow>, QueryError> {
        let after = after.map(|id| id.to_string());
        let query = RowsQuery::Page { after: after.as_deref(), limit };
        let (_, page) = self.model.read_complete(query).await?;
        page.rows.iter().map(parse_row).collect()
    }

    /// Up to where the rows are known to include the log.
    pub(crate) fn applied_position(&self) -> Position {
        self.model.store.progress().applied_position(&self.model.live_table().name)
    }

    /// Waits until the rows include everything that is committed now.
    pub(crate) async fn wait_for_head(&self) -> Result<(), QueryError> {
        let head = self.model.store.head().await?.position;
        self.model.wait_until_projected(head).await
    }

    /// Waits until the rows include `position`, which the caller has seen in an earlier response
    /// (read-your-writes).
    pub(crate) async fn wait_for_position(&self, position: Position) -> Result<(), QueryError> {
        if self.applied_position() >= position {
            return Ok(());
        }
        let head = self.model.store.head().await?.position;
        if position > head {
            return Err(QueryError::BeyondHead { wanted: position, head });
        }
        self.model.wait_until_projected(position).await
    }

    /// Waits, for at most 2 s, until the rows include a write, so that its author's next read sees
    /// it (read-your-writes). The write is durable even if this wait times out.
    pub async fn wait_until_visible(&self, written: Position) {
        if self.model.wait_until_projected(written).await.is_err() {
            tracing::warn!(
                position = written.get(),
                "answering a write before the read model `users` includes it"
            );
        }
    }

    /// A missing row proves absence only in rows that include everything the log had when the request began.
    async fn find_or_confirm_absent(&self, key: &UserKey) -> Result<Option<FoundUser>, QueryError> {
        for _ in 0..MAX_ATTEMPTS {
            let (found, checkpoint) = self.find(key).await?;
            if found.is_some() {
                return Ok(found);
            }
            // Linearizable: a deposed primary cannot make a user look nonexistent.
            let head = self.model.store.head().await?.position;
            if checkpoint.position >= head {
                self.check_absent(key, checkpoint.position).await?;
                return Ok(None);
            }
            self.model.wait_until_projected(head).await?;
        }
        Err(self.model.behind(self.model.store.progress().head))
    }

    /// Rows alone do not prove that a user does not exist: the row may have been deleted in the database. The
    /// claim in the log names the user of an e-mail address or username.
    async fn check_absent(&self, key: &UserKey, until: Position) -> Result<(), QueryError> {
        let id = match key {
            UserKey::Id(id) => Some(id.clone()),
            UserKey::Email(email) => self.claim_owner(ClaimKind::Email, email).await?,
            UserKey::Username(username) => self.claim_owner(ClaimKind::Username, username).await?,
        };
        let Some(id) = id else { return Ok(()) };
        self.model.check_absent(&id, until).await
    }

    async fn claim_owner(&self, kind: ClaimKind, value: &str) -> Result<Option<String>, QueryError> {
        let claim = Claim { kind: kind.as_str(), value: value.to_owned() };
        let owner = self.model.store.claim_owners(&[claim]).await?.into_iter().next().flatten();
        Ok(owner.and_then(|stream| UserId::from_stream(stream.as_str())).map(|id| id.to_string()))
    }

    /// The row, which misses no event of its user, and the checkpoint of the rows.
    async fn find(&self, key: &UserKey) -> Result<(Option<FoundUser>, ProjectionCheckpoint), QueryError> {
        let (column, text) = match key {
            UserKey::Id(id) => ("id", id),
            UserKey::Email(email) => ("email_key", email),
            UserKey::Username(username) => ("username_key", username),
        };
        for _ in 0..MAX_ATTEMPTS {
            let confirmation = self.model.store.confirm_head().await?;
            let (_, page) = self.model.read(RowsQuery::Find { column, text }).await?;
            match lookup::evaluate(&self.model.store, &page, confirmation).await? {
                UserLookup::Found(row, checkpoint) => {
                    return Ok((Some(FoundUser { row: *row, position: page.head }), checkpoint));
                }
                UserLookup::NotFound(checkpoint) => return Ok((None, checkpoint)),
                UserLookup::Behind(wanted) => self.model.wait_until_projected(wanted).await?,
                UserLookup::Unconfirmed => {}
            }
        }
        Err(self.model.behind(self.model.store.progress().head))
    }
}

/// The row of a user, with all events of the user up to a position.
struct FoundUser {
    row: UserRow,
    position: Position,
}

enum UserKey {
    Id(String),
    /// Normalised.
    Email(String),
    /// Normalised.
    Username(String),
}

pub(super) fn parse_row(row: &Row) -> Result<UserRow, QueryError> {
    UserRow::from_row(row)
        .map_err(|error| StoreError::from(Corruption::invalid("a row of `users`", error)).into())
}
