//! What a user was, and what has happened to them: read from the log itself, which no read model keeps so much of.

mod as_of;
mod change;
mod difference;
mod past;
mod record;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use domain::{UserEvent, UserId, WebhookEvent, WebhookId};
use jiff::{SignedDuration, Timestamp};
use projections::decode;
use store::canonical::rfc3339;
use store::{EventQuery, EventStore, Position, Recorded, StoreError, StreamId};

pub use as_of::{AsOf, NoPoint};
pub use change::{FieldChange, UserChange};
pub use difference::{Became, UserDifference};
pub use past::{Life, PastUser};
pub use record::{Act, HeldWebhook, KeptPassword, PersonalRecord};

use super::QueryError;
use difference::{Span, differences};

/// Events read at once.
const PAGE: usize = 1000;

/// Reads the past of users.
#[derive(Clone)]
pub struct HistoryQueries {
    store: EventStore,
}

impl HistoryQueries {
    /// Queries of this log.
    #[must_use]
    pub fn new(store: EventStore) -> Self {
        Self { store }
    }

    /// The last position at that point, in the log as it is now.
    ///
    /// # Errors
    /// [`QueryError::BeyondHead`] if the log has not reached that position.
    pub async fn position(&self, at: AsOf) -> Result<Position, QueryError> {
        let head = self.store.head().await?.position;
        self.position_before(at, head).await
    }

    /// The last position at that point, in the log as it was at that head.
    ///
    /// # Errors
    /// [`QueryError::BeyondHead`] if the position is beyond that.
    pub async fn position_before(&self, at: AsOf, head: Position) -> Result<Position, QueryError> {
        match at {
            AsOf::Position(wanted) if wanted > head => Err(QueryError::BeyondHead { wanted, head }),
            AsOf::Position(position) => Ok(position),
            AsOf::Time(time) => {
                let after = time.checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
                Ok(self.store.last_before(after, Position::START, head).await?)
            }
        }
    }

    /// The user as they were at that point; none if they had not registered yet, or were erased by then.
    ///
    /// # Errors
    /// As [`HistoryQueries::position`]; [`QueryError::Store`] if their history cannot be read.
    pub async fn as_of(&self, id: UserId, at: AsOf) -> Result<Option<PastUser>, QueryError> {
        let until = self.position(at).await?;
        Ok(self.life(id, until).await?.told(id))
    }

    /// All that has happened to the user, in order; nothing if there never was such a user.
    ///
    /// # Errors
    /// [`QueryError::Store`] if it cannot be read.
    pub async fn changes(&self, id: UserId) -> Result<Vec<UserChange>, QueryError> {
        Ok(self.told(id).await?.1)
    }

    /// What the events above `from`, up to `to`, have made of users, by id. Users to whom nothing has happened in between
    /// cost nothing.
    ///
    /// # Errors
    /// [`QueryError::Store`] if the log cannot be read.
    pub async fn between(
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
                span.after.take(&event.envelope, &decoded(event)?);
                span.events += 1;
            }
            query.after = page.next;
            each_page(page.next);
        }
        Ok(differences(spans))
    }

    /// All that is held on the person; nothing if there never was such a user.
    ///
    /// # Errors
    /// [`QueryError::Store`] if it cannot be read.
    pub async fn record(&self, id: UserId, now: Timestamp) -> Result<Option<PersonalRecord>, QueryError> {
        let head = self.store.head().await?.position;
        let (life, mut events) = self.told(id).await?;
        let Some(last) = events.last() else { return Ok(None) };
        // Something may have happened to them since the head was read.
        let position = head.max(Position::new(last.position));
        let me = stream(id)?;
        events.iter_mut().filter(|event| event.actor != me.as_str()).for_each(UserChange::name_kind_of_actor);
        Ok(Some(PersonalRecord {
            exported_at: rfc3339(now),
            position: position.get(),
            account: life.told(id),
            password: KeptPassword::of(&life.user, &events),
            events,
            acts: self.acts(id, position).await?,
            webhooks: self.webhooks(id, position).await?,
        }))
    }

    /// The webhooks that the user has, of those registered up to `head`.
    async fn webhooks(&self, id: UserId, head: Position) -> Result<Vec<HeldWebhook>, QueryError> {
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
                webhooks.extend(HeldWebhook::of(id, &self.store.read_stream(&envelope.stream).await?)?);
            }
            query.after = page.next;
        }
        Ok(webhooks)
    }

    /// What the user has done, up to `head`, other than to themselves.
    async fn acts(&self, id: UserId, head: Position) -> Result<Vec<Act>, QueryError> {
        let stream = stream(id)?;
        let actor = Some(stream.as_str().to_owned());
        let mut query = EventQuery { until: Some(head), limit: PAGE, actor, ..EventQuery::default() };
        let mut acts = Vec::new();
        while query.after < head {
            let page = self.store.page(&query).await?;
            let others = page.events.iter().filter(|event| event.envelope.stream != stream);
            acts.extend(others.map(|event| Act::new(&event.envelope)));
            query.after = page.next;
        }
        Ok(acts)
    }

    /// A user to whom `event` is the first thing that happens above `from`.
    async fn span(&self, id: UserId, event: &Recorded, from: Position) -> Result<Span, QueryError> {
        let before = if event.envelope.version == 1 { Life::default() } else { self.life(id, from).await? };
        Ok(Span { after: before.clone(), before, events: 0 })
    }

    /// What the user had come to at that position.
    async fn life(&self, id: UserId, until: Position) -> Result<Life, QueryError> {
        let mut life = Life::default();
        for event in self.events(id).await?.iter().take_while(|event| event.envelope.position <= until) {
            life.take(&event.envelope, &decoded(event)?);
        }
        Ok(life)
    }

    /// What the user has come to, and how.
    async fn told(&self, id: UserId) -> Result<(Life, Vec<UserChange>), QueryError> {
        let (mut life, mut changes) = (Life::default(), Vec::new());
        for event in self.events(id).await? {
            let (fact, before) = (decoded(&event)?, life.user.clone());
            life.take(&event.envelope, &fact);
            changes.push(UserChange::new(event.envelope, &fact, &before, &life.user));
        }
        Ok((life, changes))
    }

    async fn events(&self, id: UserId) -> Result<Vec<Recorded>, QueryError> {
        Ok(self.store.read_stream(&stream(id)?).await?)
    }
}

fn stream(id: UserId) -> Result<StreamId, StoreError> {
    StreamId::known(id.stream())
}

fn decoded(event: &Recorded) -> Result<UserEvent, StoreError> {
    let position = event.envelope.position;
    decode::user_event(event).map_err(|error| StoreError::corrupt(format!("position {position}: {error}")))
}
