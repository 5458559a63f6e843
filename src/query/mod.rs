//! Queries: rows of the read models and their freshness (read-your-writes, `Aegis-Min-Position`). Events are
//! read only for the head of the log, the projection lag and the past (`history`).

mod history;
mod logins;
pub mod projections;
mod sessions;
mod stats;
mod time;
mod user_search;
mod users;
mod webhooks;

pub use history::{
    AsOf, FieldChange, HistoryQueries, OwnedWebhook, ParseAsOfError, PersonalExport, PersonalRecord,
    ReplayedUser, StoredPassword, UserAction, UserAt, UserChange, UserChangeKind, UserDifference,
};
pub use logins::{LoginPage, LoginQueries, LoginRecord};
pub use sessions::HeldSession;
pub(crate) use sessions::SessionOwner;
pub use stats::{DayStats, Stats, StatsQueries};
pub(crate) use time::parse_time;
pub use user_search::{InvalidCursor, SearchCursor, UserPage, UserSearch};
pub use users::UserQueries;
pub use webhooks::WebhookQueries;

use std::sync::Arc;
use std::time::Duration;

use ::projections::Projection;
use domain::{ClaimKind, TokenId, UserId, WebhookEvent, WebhookId};
use serde_json::Value;
use store::{
    Claim, ClaimChange, EventStore, Position, PrefixQuery, ReadModelStore, Row, RowPage, StoreError,
    StoredEvent, StreamId, Table,
};

/// How long a request waits for a projection to catch up.
const PROJECTION_WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a read is repeated because the table was removed after this process had learnt that it is live.
const MAX_LIVE_ATTEMPTS: usize = 3;

/// Why a query was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The projection did not reach the position in time: what its rows do not show may exist nevertheless.
    #[error("the read model `{name}` is behind the log: it has not reached position {wanted} within 2 s")]
    Behind { name: &'static str, wanted: Position },
    /// The log has not reached the requested position.
    #[error("position {wanted} is beyond the head of the log, which is at {head}")]
    BeyondHead { wanted: Position, head: Position },
    /// What was read first is destroyed, so the rest does not belong to it.
    #[error("the user was erased while the export of their data was read; it is incomplete")]
    ErasedMeanwhile,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which rows of a table to read.
#[derive(Clone, Copy)]
enum RowsQuery<'a> {
    /// Those whose column has this text.
    Find { column: &'static str, text: &'a str },
    /// By ascending key after `after`.
    Page { after: Option<&'a str>, limit: usize },
    /// Those whose column begins with a text.
    Prefix(&'a PrefixQuery),
}

/// The rows of one read model, and their freshness.
#[derive(Clone)]
struct ReadModel {
    store: EventStore,
    rows: Arc<dyn ReadModelStore>,
    projection: &'static dyn Projection,
}

impl ReadModel {
    /// The live table according to this process, without asking the database.
    fn live_table(&self) -> Table {
        self.live_version().0
    }

    /// The live table, and the code that fills it.
    fn live_version(&self) -> (Table, &'static dyn Projection) {
        let progress = self.store.progress();
        let versions = progress.versions.get(self.projection.name()).map(AsRef::as_ref);
        (self.projection.live_table(versions), self.projection.live_code(versions))
    }

    /// Rows of the live table, with the table. Every answer carries the checkpoint of its snapshot: if it
    /// says that the table was removed, because this process has missed a cutover, the live version is
    /// resolved again.
    async fn read(&self, query: RowsQuery<'_>) -> Result<(Table, RowPage), QueryError> {
        let (mut table, mut code) = self.live_version();
        for _ in 0..MAX_LIVE_ATTEMPTS {
            let page = match query {
                RowsQuery::Find { column, text } => self.rows.find(&table, column, text).await?,
                RowsQuery::Page { after, limit } => self.rows.row_page(&table, after, limit).await?,
                RowsQuery::Prefix(query) => self.rows.prefix_page(&table, query).await?,
            };
            // Rows of a table that was dropped from outside are not trusted.
            if self.store.progress().dropped.contains(&table.name) {
                return Err(StoreError::table_dropped(&table.name).into());
            }
            if !page.checkpoint.is_removed() {
                self.check_unauthenticated(code, &table, &page).await?;
                return Ok((table, page));
            }
            let versions = self.rows.versions(self.projection.name()).await?;
            table = self.projection.live_table(versions.as_ref());
            code = self.projection.live_code(versions.as_ref());
        }
        Err(self.behind(self.store.progress().head))
    }

    /// Compares the rows of a table that has no row authentication yet with the log: it was filled by an
    /// earlier release, and is being replaced. Rows that no stream makes alone, such as sums, are believed
    /// until then.
    async fn check_unauthenticated(
        &self,
        code: &dyn Projection,
        table: &Table,
        page: &RowPage,
    ) -> Result<(), QueryError> {
        if table.schema.is_authenticated() {
            return Ok(());
        }
        for row in &page.rows {
            let key = row.get(table.key()).and_then(|key| key.as_str()).unwrap_or_default();
            let expected = self.expected_row(code, key, page.checkpoint.position).await?;
            if expected.is_some_and(|expected| !is_same_row(expected.row.as_ref(), row)) {
                return Err(self.store.row_tampered(&table.name, key).into());
            }
        }
        Ok(())
    }

    /// The row with that key as its stream makes it by that code, up to a position; `None` if it depends on other
    /// streams too.
    async fn expected_row(
        &self,
        code: &dyn Projection,
        key: &str,
        until: Position,
    ) -> Result<Option<ExpectedRow>, QueryError> {
        let Some(stream) = code.stream_of(key) else { return Ok(None) };
        let events = self.store.read_stream(&StreamId::from_trusted(stream)?).await?;
        let mut expected = ExpectedRow { row: None, is_complete: true };
        for event in &events {
            if event.envelope.position > until {
                expected.is_complete = false;
                break;
            }
            // An event that cannot be applied was skipped by an operator; otherwise the projection halts
            // there.
            expected.row = code.fold(expected.row.clone(), event).unwrap_or(expected.row);
        }
        Ok(Some(expected))
    }

    /// Fails if the stream makes a row that the rows of a checkpoint lack: it was deleted in the database.
    async fn check_absent(&self, key: &str, until: Position) -> Result<(), QueryError> {
        match self.expected_row(self.live_version().1, key, until).await? {
            Some(ExpectedRow { row: Some(_), is_complete: true }) => {
                Err(self.store.row_missing(&self.live_table().name, key).into())
            }
            _ => Ok(()),
        }
    }

    /// Rows as [`ReadModel::read`], but not of a table that is being filled again: its missing rows would
    /// look as if they did not exist.
    async fn read_complete(&self, query: RowsQuery<'_>) -> Result<(Table, RowPage), QueryError> {
        let (table, page) = self.read(query).await?;
        let is_refilling = self.store.progress().is_refilling(&table.name, page.checkpoint);
        if is_refilling { Err(self.behind(page.head)) } else { Ok((table, page)) }
    }

    /// Waits until the rows include a position of the log, for at most [`PROJECTION_WAIT_TIMEOUT`].
    async fn wait_until_projected(&self, wanted: Position) -> Result<(), QueryError> {
        let table = self.live_table();
        let is_projected = self.store.wait_until_applied(&table.name, wanted, PROJECTION_WAIT_TIMEOUT).await;
        if is_projected { Ok(()) } else { Err(self.behind(wanted)) }
    }

    fn behind(&self, wanted: Position) -> QueryError {
        QueryError::Behind { name: self.projection.name(), wanted }
    }
}

/// A row as the events of its stream make it.
struct ExpectedRow {
    row: Option<Row>,
    /// Whether the stream has no later event.
    is_complete: bool,
}

/// Whether two rows are the same; null and absent are.
fn is_same_row(expected: Option<&Row>, found: &Row) -> bool {
    let Some(expected) = expected else { return false };
    let fields = |row: &Row| row.iter().filter(|(_, value)| !value.is_null()).count();
    let shares = |(name, value): (&String, &Value)| value.is_null() || found.get(name) == Some(value);
    fields(expected) == fields(found) && expected.iter().all(shares)
}

/// The claims that an event takes, whether it releases all of its stream's, and who owns the stream. Users
/// and webhooks have claims.
///
/// # Errors
/// Why the event cannot be decoded.
pub fn claim_change(event: &StoredEvent) -> Result<ClaimChange, String> {
    if WebhookId::from_stream(event.envelope.stream.as_str()).is_some() {
        let event = event_codec::decode_webhook_event(event).map_err(|error| error.to_string())?;
        let owner = match &event {
            WebhookEvent::WebhookRegistered { owner, .. } => Some(StreamId::from_trusted(owner.stream())),
            _ => None,
        };
        let owner = owner.transpose().map_err(|error| error.to_string())?;
        let take = event_codec::slot_claim_taken(&event).into_iter().collect();
        return Ok(ClaimChange { take, erases: event.erases(), owner, ..ClaimChange::default() });
    }
    if TokenId::from_stream(event.envelope.stream.as_str()).is_some() {
        event_codec::decode_token_event(event).map_err(|error| error.to_string())?;
        return Ok(ClaimChange::default());
    }
    if UserId::from_logins_stream(event.envelope.stream.as_str()).is_some() {
        event_codec::decode_login_event(event).map_err(|error| error.to_string())?;
        return Ok(ClaimChange::default());
    }
    if UserId::from_stream(event.envelope.stream.as_str()).is_none() {
        return Ok(ClaimChange::default());
    }
    let event = event_codec::decode_user_event(event).map_err(|error| error.to_string())?;
    let is_backfilled = |claim: &Claim| claim.kind == ClaimKind::UsernameSkeleton.as_str();
    let (take_if_free, take) = event_codec::claims_taken(&event).partition(is_backfilled);
    let (release_if_held, release) = event_codec::claims_released(&event).partition(is_backfilled);
    let erases = event.erases();
    Ok(ClaimChange { take, take_if_free, release, release_if_held, erases, owner: None })
}
