//! All that is held on one person, for the person to read (GDPR, article 15).

use domain::{Erasable, PasswordHash, User, Webhook, WebhookId, webhook};
use serde::Serialize;
use store::canonical::rfc3339;
use store::{Envelope, StoreError, StoredEvent};

use super::change::UserChange;
use super::replayed_user::UserAt;

/// All that is held on one person.
#[derive(Clone, Debug, Serialize)]
pub struct PersonalRecord {
    /// When this was put together: RFC 3339, UTC.
    pub exported_at: String,
    /// Nothing later than this position of the log is in here.
    pub position: u64,
    /// The account; null if it was erased.
    pub account: Option<UserAt>,
    /// How the password is kept; null if it was erased.
    pub password: Option<StoredPassword>,
    /// All that has happened to the account, in order. Of whoever else caused it only the kind is told: `administrator`,
    /// `token`, `operator` or `system`.
    pub events: Vec<UserChange>,
    /// What the person has done to other accounts, or to the service.
    pub acts: Vec<UserAction>,
    /// Their webhooks.
    pub webhooks: Vec<OwnedWebhook>,
}

/// A webhook of the person.
#[derive(Clone, Debug, Serialize)]
pub struct OwnedWebhook {
    /// Its id.
    pub id: String,
    /// Where events are sent.
    pub url: String,
    /// The types of events; all if it is empty.
    pub types: Vec<String>,
    /// What it is for, in their words; null if they did not say.
    pub description: Option<String>,
    /// When it was registered: RFC 3339, UTC.
    pub created_at: String,
}

/// How a password is kept.
#[derive(Clone, Debug, Serialize)]
pub struct StoredPassword {
    /// The password itself is not kept: only a hash of this kind, from which nobody can tell it. Hashes are shown to
    /// nobody.
    pub hash: String,
    /// When it was set: RFC 3339, UTC.
    pub set_at: String,
}

/// Something that the person has done. Whom it was done to is those people's own.
#[derive(Clone, Debug, Serialize)]
pub struct UserAction {
    /// Where in the log.
    pub position: u64,
    /// When: RFC 3339, UTC.
    pub at: String,
    /// What was done.
    pub r#type: String,
    /// The request that did it, as in the logs.
    pub request_id: String,
}

impl UserAction {
    pub(super) fn new(envelope: &Envelope) -> Self {
        Self {
            position: envelope.position.get(),
            at: rfc3339(envelope.at),
            r#type: envelope.event_type.clone(),
            request_id: envelope.request_id.clone(),
        }
    }
}

impl OwnedWebhook {
    /// The webhook of a stream, unless it was deleted.
    pub(super) fn of(id: WebhookId, events: &[StoredEvent]) -> Result<Option<Self>, StoreError> {
        let webhook_events =
            events.iter().map(event_codec::decode_webhook_event).collect::<Result<Vec<_>, _>>();
        let webhook_events = webhook_events.map_err(|error| StoreError::corrupt(error.to_string()))?;
        let (Webhook::Present(webhook), Some(first)) = (webhook::fold(&webhook_events), events.first())
        else {
            return Ok(None);
        };
        let Some(url) = webhook.url.known() else { return Ok(None) };
        let description = webhook.description.as_ref().and_then(Erasable::known);
        Ok(Some(Self {
            id: id.to_string(),
            url: url.as_str().to_owned(),
            types: webhook.types,
            description: description.map(|words| words.as_str().to_owned()),
            created_at: rfc3339(first.envelope.at),
        }))
    }
}

impl StoredPassword {
    /// How the user's password is kept, after the events that say when it was set.
    pub(super) fn of(user: &User, events: &[UserChange]) -> Option<Self> {
        let User::Present(account) = user else { return None };
        let hash = account.password_hash.known()?;
        let sets = |event: &&UserChange| event.changes.iter().any(|change| change.field == "password");
        let set_at = events.iter().rev().find(sets)?.at.clone();
        Some(Self { hash: kind(hash), set_at })
    }
}

/// The name of the algorithm: the first field of a hash in PHC or crypt format.
fn kind(hash: &PasswordHash) -> String {
    hash.expose().split('$').nth(1).unwrap_or_default().to_owned()
}
