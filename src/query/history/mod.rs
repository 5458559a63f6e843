//! Queries of the past: users as of a position or time, and their changes, replayed from the log.

mod record;
mod replay;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use domain::{UserEvent, UserId, WebhookEvent, WebhookId};
use jiff::{SignedDuration, Timestamp};
use store::canonical::rfc3339;
use store::{Corruption, EventQuery, EventStore, Position, StoreError, StoredEvent, StreamId};

pub use record::{OwnedWebhook, PersonalRecord, StoredPassword, UserAction};
pub use replay::{
    AsOf, FieldChange, ParseAsOfError, ReplayedUser, UserAt, UserChange, UserChangeKind, UserDifference,
};

use super::QueryError;
use replay::{ReplayedSpan, user_differences};

/// The number of events in one read.
const PAGE: usize = 1000;

#[derive(Clone)]
pub struct HistoryQueries {
    store: EventStore,
}

impl HistoryQueries {
    pub(crate) fn new(store: EventStore) -> Self {
        Self { store }
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
        Ok(self.replay(id).await?.1)
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
    pub(crate) async fn record(
        &self,
        id: UserId,
        now: Timestamp,
    ) -> Result<Option<PersonalRecord>, QueryError> {
        let head = self.store.head().await?.position;
        let (user, mut events) = self.replay(id).await?;
        let Some(last) = events.last() else { return Ok(None) };
        // The user may have newer events than the head that was read.
        let position = head.max(Position::new(last.position));
        let me = stream(id)?;
        events.iter_mut().filter(|event| event.actor != me.as_str()).for_each(UserChange::redact_actor);
        Ok(Some(PersonalRecord {
            exported_at: rfc3339(now),
            position: position.get(),
            account: user.account_as_of(id),
            password: StoredPassword::of(&user.state, &events),
            events,
            acts: self.actions(id, position).await?,
            webhooks: self.webhooks(id, position).await?,
        }))
    }

    /// The user's webhooks, of those registered up to `head`.
    async fn webhooks(&self, id: UserId, head: Position) -> Result<Vec<OwnedWebhook>, QueryError> {
        let (owner, types) = (id.to_string(), vec![WebhookEvent::REGISTERED.to_owned()]);
        let mut query = EventQuery { until: Some(head), limit: PAGE, types, ..EventQuery::default() };
        let mut webhooks = Vec::new();
        while query.after < head {
            let page = self.store.page(&query).await?;
            for event in &page.events {
                let envelope = &event.envelope;
                let is_theirs = envelope.data.get("owner").and_then(|owner| owner.as_str()) == Some(&*owner);
                let Some(id) = WebhookId::from_stream(envelope.stream.as_str()).filter(|_| is_theirs) else {
                    continue;
                };
                webhooks.extend(OwnedWebhook::of(id, &self.store.read_stream(&envelope.stream).await?)?);
            }
            query.after = page.next;
        }
        Ok(webhooks)
    }

    /// Events up to `head` that the user caused in other streams.
    async fn actions(&self, id: UserId, head: Position) -> Result<Vec<UserAction>, QueryError> {
        let stream = stream(id)?;
        let actor = Some(stream.as_str().to_owned());
        let mut query = EventQuery { until: Some(head), limit: PAGE, actor, ..EventQuery::default() };
        let mut actions = Vec::new();
        while query.after < head {
            let page = self.store.page(&query).await?;
            let others = page.events.iter().filter(|event| event.envelope.stream != stream);
            actions.extend(others.map(|event| UserAction::new(&event.envelope)));
            query.after = page.next;
        }
        Ok(actions)
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

    /// The current user and every change.
    async fn replay(&self, id: UserId) -> Result<(ReplayedUser, Vec<UserChange>), QueryError> {
        let (mut user, mut changes) = (ReplayedUser::default(), Vec::new());
        for event in self.events(id).await? {
            let (user_event, before) = (decode_user_event(&event)?, user.state.clone());
            user.apply(&event.envelope, &user_event);
            changes.push(UserChange::new(event.envelope, &user_event, &before, &user.state));
        }
        Ok((user, changes))
    }

    async fn events(&self, id: UserId) -> Result<Vec<StoredEvent>, QueryError> {
        Ok(self.store.read_stream(&stream(id)?).await?)
    }
}

fn stream(id: UserId) -> Result<StreamId, StoreError> {
    StreamId::from_trusted(id.stream())
}

fn decode_user_event(event: &StoredEvent) -> Result<UserEvent, StoreError> {
    let position = event.envelope.position;
    event_codec::decode_user_event(event)
        .map_err(|error| Corruption::UndecodableEvent { position, reason: error.to_string() }.into())
}
