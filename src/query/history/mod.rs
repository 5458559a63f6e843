//! Queries of the past: users as of a position or time, and their changes, replayed from the log.

mod export;
mod record;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use domain::{UserEvent, UserId, WebhookId};
use jiff::{SignedDuration, Timestamp};
use store::canonical::rfc3339;
use store::{
    Corruption, EventQuery, EventStore, Position, Session, Sessions, StoreError, StoredEvent, StreamId,
};

pub use export::PersonalExport;
pub use record::{OwnedWebhook, PersonalRecord, StoredPassword, UserAction};
pub use replay::{
    AsOf, FieldChange, ParseAsOfError, ReplayedUser, UserAt, UserChange, UserChangeKind, UserDifference,
};

use super::QueryError;
use super::logins::LoginQueries;
use super::sessions::{HeldSession, SessionOwner};
use super::webhooks::WebhookQueries;
use replay::{ReplayedSpan, user_differences};

/// The number of events in one read of differences.
const PAGE: usize = 1000;

/// How often a record is read again because the user's data changed while it was read.
const MAX_RECORD_ATTEMPTS: usize = 8;

#[derive(Clone)]
pub struct HistoryQueries {
    store: EventStore,
    webhooks: WebhookQueries,
    logins: LoginQueries,
    sessions: Sessions,
}

impl HistoryQueries {
    pub(crate) fn new(store: EventStore, webhooks: WebhookQueries, sessions: Sessions) -> Self {
        Self { logins: LoginQueries::new(store.clone()), store, webhooks, sessions }
    }

    /// The last position at that point in the current log.
    pub(crate) async fn position(&self, at: AsOf) -> Result<Position, QueryError> {
        let head = self.store.head().await?.position;
        self.position_before(at, head).await
    }

    /// The last position at that point in the log up to `head`.
    pub(crate) async fn position_before(&self, at: AsOf, head: Position) -> Result<Position, QueryError> {
        match at {
            AsOf::Position(wanted) if wanted > head => Err(QueryError::BeyondHead { wanted, head }),
            AsOf::Position(position) => Ok(position),
            AsOf::Time(time) => {
                let after = time.checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
                Ok(self.store.last_before(after, Position::START, head).await?)
            }
        }
    }

    /// The user at that point; `None` before the registration and after the erasure.
    pub(crate) async fn as_of(&self, id: UserId, at: AsOf) -> Result<Option<UserAt>, QueryError> {
        let until = self.position(at).await?;
        Ok(self.replay_until(id, until).await?.account_as_of(id))
    }

    /// All changes of the user, in order; empty if the user never existed.
    pub(crate) async fn changes(&self, id: UserId) -> Result<Vec<UserChange>, QueryError> {
        Ok(replay(self.events(id).await?)?.1)
    }

    /// The differences of users between two positions, by id. Reads only users with events in between.
    pub(crate) async fn between(
        &self,
        from: Position,
        to: Position,
        each_page: &mut (dyn FnMut(Position) + Send),
    ) -> Result<Vec<UserDifference>, QueryError> {
        let mut spans = BTreeMap::new();
        let mut query = EventQuery { after: from, until: Some(to), limit: PAGE, ..EventQuery::default() };
        while query.after < to {
            let page = self.store.page(&query).await?;
            for event in &page.events {
                let Some(id) = UserId::from_stream(event.envelope.stream.as_str()) else { continue };
                let span = match spans.entry(id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(self.span(id, event, from).await?),
                };
                span.after.apply(&event.envelope, &decode_user_event(event)?);
                span.events += 1;
            }
            query.after = page.next;
            each_page(page.next);
        }
        Ok(user_differences(spans))
    }

    /// Everything stored about the person (GDPR, article 15); `None` if the user never existed.
    ///
    /// All of it is from one position, but the open sessions, which are not in the log. Whatever an erasure destroys
    /// after that position cannot be read any more, so what changed while it was read is read again.
    pub(crate) async fn export(
        &self,
        id: UserId,
        now: Timestamp,
    ) -> Result<Option<PersonalExport>, QueryError> {
        let mut attempt = 1;
        loop {
            let owned = self.webhook_streams(id).await?;
            let position = self.store.head().await?.position;
            let (record, is_current) = self.record_at(id, position, &owned, now).await?;
            let is_settled = is_current && owned == self.webhook_streams(id).await?;
            if is_settled || attempt == MAX_RECORD_ATTEMPTS {
                return Ok(record.map(|record| PersonalExport {
                    store: self.store.clone(),
                    logins: self.logins.clone(),
                    id,
                    record,
                }));
            }
            attempt += 1;
        }
    }

    /// The record as of a position, and whether the user has no newer event.
    async fn record_at(
        &self,
        id: UserId,
        position: Position,
        webhooks: &BTreeSet<StreamId>,
        now: Timestamp,
    ) -> Result<(Option<PersonalRecord>, bool), QueryError> {
        // Before the events of the account, among which a later end of a session, or erasure, is seen.
        let stored_sessions = self.sessions.of(&stream(id)?).await?;
        let mut own = self.events(id).await?;
        let read = own.len();
        own.retain(|event| event.envelope.position <= position);
        let is_current = own.len() == read;
        let (user, mut events) = replay(own)?;
        if events.is_empty() {
            return Ok((None, is_current));
        }
        let me = stream(id)?;
        events.iter_mut().filter(|event| event.actor != me.as_str()).for_each(UserChange::redact_actor);
        let record = PersonalRecord {
            exported_at: rfc3339(now),
            position: position.get(),
            account: user.account_as_of(id),
            password: StoredPassword::of(&user.state, &events),
            events,
            sessions: self.open_sessions(user.session_owner(id), stored_sessions),
            webhooks: self.webhooks_at(webhooks, position).await?,
        };
        Ok((Some(record), is_current))
    }

    /// The streams of the user's webhooks: those that hold a slot of the user, and those that only the read model
    /// knows.
    async fn webhook_streams(&self, owner: UserId) -> Result<BTreeSet<StreamId>, QueryError> {
        let claims: Vec<_> = event_codec::slot_claims(owner).map(|(_, claim)| claim).collect();
        let mut streams: BTreeSet<_> =
            self.store.claim_owners(&claims).await?.into_iter().flatten().collect();
        for id in self.webhooks.known_of(owner).await {
            streams.insert(StreamId::from_trusted(id.stream())?);
        }
        Ok(streams)
    }

    /// The webhooks of these streams at that position, in order of registration.
    async fn webhooks_at(
        &self,
        streams: &BTreeSet<StreamId>,
        position: Position,
    ) -> Result<Vec<OwnedWebhook>, QueryError> {
        let mut webhooks = Vec::new();
        for stream in streams {
            let Some(id) = WebhookId::from_stream(stream.as_str()) else { continue };
            let mut events = self.store.read_stream(stream).await?;
            events.retain(|event| event.envelope.position <= position);
            let registered_at = events.first().map(|event| event.envelope.position);
            webhooks.extend(OwnedWebhook::of(id, &events)?.map(|webhook| (registered_at, webhook)));
        }
        webhooks.sort_by_key(|(registered_at, _)| *registered_at);
        Ok(webhooks.into_iter().map(|(_, webhook)| webhook).collect())
    }

    fn open_sessions(&self, owner: Option<SessionOwner>, stored: Vec<Session>) -> Vec<HeldSession> {
        let Some(owner) = owner else { return Vec::new() };
        let open = stored.into_iter().filter(|session| owner.has_open(session, &self.store));
        open.map(HeldSession::from).collect()
    }

    /// The span of a user whose first event above `from` is `event`.
    async fn span(
        &self,
        id: UserId,
        event: &StoredEvent,
        from: Position,
    ) -> Result<ReplayedSpan, QueryError> {
        let before = if event.envelope.version == 1 {
            ReplayedUser::default()
        } else {
            self.replay_until(id, from).await?
        };
        Ok(ReplayedSpan { after: before.clone(), before, events: 0 })
    }

    async fn replay_until(&self, id: UserId, until: Position) -> Result<ReplayedUser, QueryError> {
        let mut user = ReplayedUser::default();
        for event in self.events(id).await?.iter().take_while(|event| event.envelope.position <= until) {
            user.apply(&event.envelope, &decode_user_event(event)?);
        }
        Ok(user)
    }

    async fn events(&self, id: UserId) -> Result<Vec<StoredEvent>, QueryError> {
        Ok(self.store.read_stream(&stream(id)?).await?)
    }
}

/// The user after these events, and every change.
fn replay(events: Vec<StoredEvent>) -> Result<(ReplayedUser, Vec<UserChange>), StoreError> {
    let (mut user, mut changes) = (ReplayedUser::default(), Vec::new());
    for event in events {
        let (user_event, before) = (decode_user_event(&event)?, user.state.clone());
        user.apply(&event.envelope, &user_event);
        changes.push(UserChange::new(event.envelope, &user_event, &before, &user.state));
    }
    Ok((user, changes))
}

fn stream(id: UserId) -> Result<StreamId, StoreError> {
    StreamId::from_trusted(id.stream())
}

fn decode_user_event(event: &StoredEvent) -> Result<UserEvent, StoreError> {
    let position = event.envelope.position;
    event_codec::decode_user_event(event)
        .map_err(|error| Corruption::UndecodableEvent { position, reason: error.to_string() }.into())
}
