//! What an event has changed of a user, field by field.

use domain::{Account, EmailAddress, Erasable, User, UserEvent, Username};
use serde::Serialize;
use serde_json::{Value, json};
use store::Envelope;
use store::canonical::rfc3339;

/// Something that has happened to a user, and what it has changed.
#[derive(Clone, Debug, Serialize)]
pub struct UserChange {
    /// Where in the log.
    pub position: u64,
    /// Where in the user's stream.
    pub version: u64,
    /// What it was.
    pub r#type: String,
    /// When: RFC 3339, UTC.
    pub at: String,
    /// Who caused it.
    pub actor: String,
    /// The request that caused it, as in the logs.
    pub request_id: String,
    /// Why, if a reason was given: words, or `{"erased": true}` if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Value>,
    /// The fields that have another value since.
    pub changes: Vec<FieldChange>,
}

/// A field, before and after. What was erased is `{"erased": true}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The field: `email`, `username`, `password`, `is_active` or `roles`.
    pub field: &'static str,
    /// Its value before; null if there was none. Left out of passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// Its value after. Left out of passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

impl UserChange {
    /// What an event says of a user, who was `before` and is `after`.
    pub(super) fn new(envelope: Envelope, user_event: &UserEvent, before: &User, after: &User) -> Self {
        Self {
            position: envelope.position.get(),
            version: envelope.version,
            r#type: envelope.event_type,
            at: rfc3339(envelope.at),
            actor: envelope.actor,
            request_id: envelope.request_id,
            reason: reason(user_event),
            changes: changed_fields(before, after),
        }
    }

    /// Leaves of whoever caused it only the kind: which administrator it was, is theirs to tell.
    pub(super) fn redact_actor(&mut self) {
        let kind = match self.actor.split(['-', ':']).next() {
            Some("user") => "administrator",
            Some(kind @ ("token" | "operator")) => kind,
            _ => "system",
        };
        self.actor = kind.to_owned();
    }
}

fn erased() -> Value {
    json!({ "erased": true })
}

fn shown<T>(personal: &Erasable<T>, text: impl FnOnce(&T) -> &str) -> Value {
    personal.known().map_or_else(erased, |value| text(value).into())
}

fn reason(event: &UserEvent) -> Option<Value> {
    match event {
        UserEvent::UserDeactivated { reason } | UserEvent::UserReactivated { reason } => {
            reason.as_ref().map(|reason| shown(reason, |words| words.as_str()))
        }
        UserEvent::UserErased { reason } => Some(reason.as_str().into()),
        UserEvent::UserRegistered { .. }
        | UserEvent::UserImported { .. }
        | UserEvent::RoleGranted { .. }
        | UserEvent::RoleRevoked { .. } => None,
    }
}

/// The fields that differ. Who is erased has lost nothing by that event which could still be shown.
pub(super) fn changed_fields(before: &User, after: &User) -> Vec<FieldChange> {
    let User::Present(after) = after else { return Vec::new() };
    let before = if let User::Present(account) = before { Some(account) } else { None };
    let field = |field, value: fn(&Account) -> Value| {
        let (from, to) = (before.map_or(Value::Null, value), value(after));
        (from != to).then_some(FieldChange { field, from: Some(from), to: Some(to) })
    };
    let email = field("email", |account| shown(&account.email, EmailAddress::as_str));
    let username = field("username", |account| shown(&account.username, Username::as_str));
    let password = before.is_none_or(|before| before.password_hash != after.password_hash);
    let password = password.then_some(FieldChange { field: "password", from: None, to: None });
    let is_active = field("is_active", |account| account.is_active.into());
    let roles = field("roles", |account| account.roles.iter().map(|role| role.as_str()).collect());
    [email, username, password, is_active, roles].into_iter().flatten().collect()
}
