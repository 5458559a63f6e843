//! The authority of users according to the log. Rows of read models say who may try; the log says who may: a
//! row can be out of date, or forged by a program that writes to the database.

use std::collections::BTreeSet;

use domain::{Authority, Role, UserId, WebhookId};
use store::{
    Corruption, Envelope, EventQuery, EventStore, Finding, FindingKind, PersonalData, Position, StoreError,
    StoredEvent, StreamId, VerifyError,
};

/// Opens the account of its actor, and is most of a log.
const REGISTERED: &str = "UserRegistered";
/// Events read at once.
const PAGE: usize = 1_000;

/// The roles of a user according to their stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoggedRoles {
    /// Empty if the user is deactivated or erased.
    pub(crate) roles: BTreeSet<Role>,
    /// The version of the stream that was read.
    pub(crate) version: u64,
}

impl LoggedRoles {
    /// Reads the stream of a user. Nothing is decrypted.
    pub(crate) async fn read(store: &EventStore, user: UserId) -> Result<Self, StoreError> {
        let (mut authority, mut version) = (Authority::default(), 0);
        for event in store.read_stream_sealed(&StreamId::from_trusted(user.stream())?).await? {
            version = event.version;
            apply(&mut authority, event)?;
        }
        Ok(Self { roles: authority.roles(user), version })
    }
}

/// Verifies that every actor held a role for what they did when they did it. Registrations are left out: they
/// concern a new account only. No personal data is decrypted.
///
/// # Errors
/// [`VerifyError::Found`] with the first event whose actor did not hold the role.
pub async fn verify(store: &EventStore) -> Result<(), VerifyError> {
    let head = store.head().await?.position;
    let types = domain::known_event_types().filter(|name| *name != REGISTERED).map(str::to_owned);
    let query =
        EventQuery { until: Some(head), limit: PAGE, types: types.collect(), ..EventQuery::default() };
    let (mut after, mut replay) = (Position::START, Replay::default());
    loop {
        let page = store.read_sealed(&EventQuery { after, ..query.clone() }).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map_or(after, |event| event.position);
        for event in page {
            replay.check(event)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// The authority of all users while the log is replayed.
#[derive(Default)]
struct Replay {
    authority: Authority,
    append: Option<CurrentAppend>,
}

/// The append that the replay is in: consecutive events of one request. What its actor held before counts for
/// all of it, also if it revokes their last role.
struct CurrentAppend {
    actor: String,
    request_id: String,
    last: Position,
    held: BTreeSet<Role>,
}

impl CurrentAppend {
    fn includes(&self, event: &Envelope) -> bool {
        self.last.next() == event.position && self.actor == event.actor && self.request_id == event.request_id
    }
}

impl Replay {
    fn check(&mut self, event: Envelope) -> Result<(), VerifyError> {
        let (position, stream) = (event.position, event.stream.clone());
        let (actor, event_type) = (event.actor.clone(), event.event_type.clone());
        let user = UserId::from_stream(&actor);
        let held = match self.append.take().filter(|append| append.includes(&event)) {
            Some(append) => append.held,
            None => user.map(|user| self.authority.roles(user)).unwrap_or_default(),
        };
        let webhook = WebhookId::from_stream(stream.as_str());
        // The owner of a deleted webhook is known before, that of a registered one afterwards.
        let owner_before = webhook.and_then(|id| self.authority.webhook_owner(id));
        let request_id = event.request_id.clone();
        apply(&mut self.authority, event)?;
        let owner = owner_before.or_else(|| webhook.and_then(|id| self.authority.webhook_owner(id)));
        let is_permitted = if let Some(user) = UserId::from_logins_stream(stream.as_str()) {
            domain::may_record_login(&actor, user, &event_type)
        } else {
            user.is_none_or(|user| domain::is_permitted(&held, user, stream.as_str(), &event_type, owner))
        };
        if !is_permitted {
            return Err(Finding::new(position, FindingKind::ActorUnauthorized { actor, event_type }).into());
        }
        self.append = Some(CurrentAppend { actor, request_id, last: position, held });
        Ok(())
    }
}

/// Applies an event without its personal data.
fn apply(authority: &mut Authority, envelope: Envelope) -> Result<(), StoreError> {
    let event = StoredEvent { envelope, personal: PersonalData::Erased };
    let stream = event.envelope.stream.as_str();
    let undecodable = |error: domain::DecodeError| {
        let (position, reason) = (event.envelope.position, error.to_string());
        StoreError::from(Corruption::UndecodableEvent { position, reason })
    };
    if let Some(user) = UserId::from_stream(stream) {
        authority.apply_user_event(user, &event_codec::decode_user_event(&event).map_err(undecodable)?);
    } else if let Some(webhook) = WebhookId::from_stream(stream) {
        authority
            .apply_webhook_event(webhook, &event_codec::decode_webhook_event(&event).map_err(undecodable)?);
    }
    Ok(())
}
