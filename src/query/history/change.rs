//! What an event changed in a user, field by field.

use domain::{Account, EmailAddress, Erasable, User, UserEvent, Username};
use serde::Serialize;
use serde_json::{Value, json};
use store::Envelope;
use store::canonical::rfc3339;

/// An event of a user and the fields it changed.
#[derive(Clone, Debug, Serialize)]
pub struct UserChange {
    pub position: u64,
    /// The version of the stream after the event.
    pub version: u64,
    /// The event type.
    pub r#type: String,
    /// RFC 3339, UTC.
    pub at: String,
    pub actor: String,
    pub request_id: String,
    /// A text, or `{"erased": true}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Value>,
    pub changes: Vec<FieldChange>,
}

/// The value of a field before and after. An erased value is `{"erased": true}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// `email`, `username`, `password`, `is_active` or `roles`.
    pub field: &'static str,
    /// Null if there was none. Left out of passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// Left out of passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

impl UserChange {
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

    /// Reduces the actor to its kind: the identity of an administrator is not disclosed to the user.
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

fn erasable<T>(personal: &Erasable<T>, text: impl FnOnce(&T) -> &str) -> Value {
    personal.known().map_or_else(erased, |value| text(value).into())
}

fn reason(event: &UserEvent) -> Option<Value> {
    match event {
        UserEvent::UserDeactivated { reason } | UserEvent::UserReactivated { reason } => {
            reason.as_ref().map(|reason| erasable(reason, |words| words.as_str()))
        }
        UserEvent::UserErased { reason } => Some(reason.as_str().into()),
        UserEvent::UserRegistered { .. }
        | UserEvent::UserImported { .. }
        | UserEvent::RoleGranted { .. }
        | UserEvent::RoleRevoked { .. } => None,
    }
}

/// The fields that differ. None for an erasure: the previous values are erased as well.
pub(super) fn changed_fields(before: &User, after: &User) -> Vec<FieldChange> {
    let User::Present(after) = after else { return Vec::new() };
    let before = if let User::Present(account) = before { Some(account) } else { None };
    let field = |field, value: fn(&Account) -> Value| {
        let (from, to) = (before.map_or(Value::Null, value), value(after));
        (from != to).then_some(FieldChange { field, from: Some(from), to: Some(to) })
    };
    let email = field("email", |account| erasable(&account.email, EmailAddress::as_str));
    let username = field("username", |account| erasable(&account.username, Username::as_str));
    let password = before.is_none_or(|before| before.password_hash != after.password_hash);
    let password = password.then_some(FieldChange { field: "password", from: None, to: None });
    let is_active = field("is_active", |account| account.is_active.into());
    let roles = field("roles", |account| account.roles.iter().map(|role| role.as_str()).collect());
    [email, username, password, is_active, roles].into_iter().flatten().collect()
}
