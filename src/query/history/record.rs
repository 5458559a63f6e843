//! Everything stored about one person, for that person (GDPR, article 15).

use domain::{Erasable, PasswordHash, User, Webhook, WebhookId, webhook};
use serde::Serialize;
use store::canonical::rfc3339;
use store::{Corruption, Envelope, StoreError, StoredEvent};

use super::replay::{UserAt, UserChange};
use crate::query::sessions::HeldSession;

/// All but logins and acts, which may be many: [`PersonalExport`](super::PersonalExport) adds them.
#[derive(Clone, Debug, Serialize)]
pub struct PersonalRecord {
    /// RFC 3339, UTC.
    pub exported_at: String,
    /// The last position of the log that is included.
    pub position: u64,
    /// Null if it was erased.
    pub account: Option<UserAt>,
    /// Null if it was erased, or if there is none yet.
    pub password: Option<StoredPassword>,
    /// All events of the account. Other actors are reduced to their kind: `administrator`, `token`,
    /// `operator` or `system`.
    pub events: Vec<UserChange>,
    /// The open ones at the time of the export, the last used one first.
    pub sessions: Vec<HeldSession>,
    pub webhooks: Vec<OwnedWebhook>,
}

/// A webhook of the person.
#[derive(Clone, Debug, Serialize)]
pub struct OwnedWebhook {
    pub id: String,
    pub url: String,
    /// The event types; empty: all.
    pub types: Vec<String>,
    pub description: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct StoredPassword {
    /// The kind of hash that is stored. Neither the password, which is not stored, nor the hash is disclosed.
    pub hash: String,
    /// RFC 3339, UTC.
    pub set_at: String,
}

/// An event that the person caused, without its subject: that is another person's data.
#[derive(Clone, Debug, Serialize)]
pub struct UserAction {
    pub position: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// The event type.
    pub r#type: String,
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
    /// The webhook of a stream; `None` if it was deleted.
    pub(super) fn of(id: WebhookId, events: &[StoredEvent]) -> Result<Option<Self>, StoreError> {
        let webhook_events =
            events.iter().map(event_codec::decode_webhook_event).collect::<Result<Vec<_>, _>>();
        let webhook_events = webhook_events
            .map_err(|error| Corruption::invalid(format!("the stream of webhook {id}"), error))?;
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
    pub(super) fn of(user: &User, events: &[UserChange]) -> Option<Self> {
        let User::Present(account) = user else { return None };
        let hash = account.password_hash.as_ref()?.known()?;
        let sets = |event: &&UserChange| event.changes.iter().any(|change| change.field == "password");
        let set_at = events.iter().rev().find(sets)?.at.clone();
        Some(Self { hash: kind(hash), set_at })
    }
}

/// The name of the algorithm: the first field of a hash in PHC or crypt format.
fn kind(hash: &PasswordHash) -> String {
    hash.expose().split('$').nth(1).unwrap_or_default().to_owned()
}
