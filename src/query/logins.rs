//! The logins of a user, read from the log.

use domain::{Erasable, LoginClient, LoginEvent, LoginFailure, UserAgent, UserId};
use serde::Serialize;
use store::canonical::rfc3339;
use store::{Corruption, EventStore, PersonalData, StoreError, StoredEvent, StreamId};

#[derive(Clone)]
pub struct LoginQueries {
    store: EventStore,
}

/// An event of the logins of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoginRecord {
    /// Counted from 1 for each user.
    pub number: u64,
    pub position: u64,
    /// RFC 3339, UTC.
    pub at: String,
    pub succeeded: bool,
    /// Of a success: how many attempts failed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
    /// Of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Of the end of a spell of failures: how many there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Null if it is unknown or was erased.
    pub address: Option<String>,
    /// Null if it is unknown or was erased.
    pub user_agent: Option<String>,
    pub request_id: String,
}

/// Logins of a user, newest first.
#[derive(Clone, Debug, Serialize)]
pub struct LoginPage {
    pub logins: Vec<LoginRecord>,
    /// The `before` of the next page; `None` of the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Logins of a user, oldest first.
pub(super) struct OldestLogins {
    pub(super) logins: Vec<LoginRecord>,
    /// Whether the user was erased.
    pub(super) is_erased: bool,
}

impl LoginQueries {
    pub(crate) fn new(store: EventStore) -> Self {
        Self { store }
    }

    /// The newest logins of a user, only those with numbers below `before` if given, at most `limit`; `None` if
    /// there never was such a user.
    pub(crate) async fn page(
        &self,
        id: UserId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Option<LoginPage>, StoreError> {
        let events = self.store.read_stream_backwards(&stream(id)?, before, limit).await?;
        if events.is_empty() {
            let user = StreamId::from_trusted(id.stream())?;
            let exists = self.store.last_of_stream(&user).await?.is_some();
            return Ok(exists.then_some(LoginPage { logins: Vec::new(), next: None }));
        }
        let logins = events.iter().map(LoginRecord::of).collect::<Result<Vec<_>, _>>()?;
        let next =
            logins.last().map(|login| login.number).filter(|number| logins.len() == limit && *number > 1);
        Ok(Some(LoginPage { logins, next }))
    }

    /// The oldest logins of a user with numbers above `after`, at most `limit`.
    pub(super) async fn page_after(
        &self,
        id: UserId,
        after: u64,
        limit: usize,
    ) -> Result<OldestLogins, StoreError> {
        let events = self.store.read_stream_page(&stream(id)?, after, limit).await?;
        let logins = events.iter().map(LoginRecord::of).collect::<Result<_, _>>()?;
        let is_erased = events.iter().any(|event| matches!(event.personal, PersonalData::Erased));
        Ok(OldestLogins { logins, is_erased })
    }
}

impl LoginRecord {
    fn of(event: &StoredEvent) -> Result<Self, StoreError> {
        let envelope = &event.envelope;
        let position = envelope.position;
        let decoded = event_codec::decode_login_event(event)
            .map_err(|error| Corruption::UndecodableEvent { position, reason: error.to_string() })?;
        let (succeeded, failures, reason, count, client) = match decoded {
            LoginEvent::LoginSucceeded { failures, client } => (true, Some(failures), None, None, client),
            LoginEvent::LoginFailed { reason, count, client } => (false, None, Some(reason), count, client),
        };
        let LoginClient { address, user_agent } = client;
        Ok(Self {
            number: envelope.version,
            position: position.get(),
            at: rfc3339(envelope.at),
            succeeded,
            failures,
            reason: reason.map(LoginFailure::as_str),
            count,
            address: known(address).map(|address| address.to_string()),
            user_agent: known(user_agent).map(|agent: UserAgent| agent.as_str().to_owned()),
            request_id: envelope.request_id.clone(),
        })
    }
}

fn known<T>(value: Option<Erasable<T>>) -> Option<T> {
    match value? {
        Erasable::Known(value) => Some(value),
        Erasable::Erased => None,
    }
}

fn stream(id: UserId) -> Result<StreamId, StoreError> {
    StreamId::from_trusted(id.logins_stream())
}
