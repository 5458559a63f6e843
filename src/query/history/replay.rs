//! Users rebuilt by replaying their events: their state at a point in the log, and what changed in them with
//! each event, or between two points.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use domain::{Account, EmailAddress, Erasable, User, UserEvent, UserId, Username, user};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use store::canonical::rfc3339;
use store::{Envelope, Position};

use crate::query::parse_time;
use crate::query::sessions::SessionOwner;

/// A point in the log. The time of events never decreases with their position, so that every moment is such a
/// point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// After the event at this position.
    Position(Position),
    /// After the events up to this moment, inclusive.
    Time(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is neither a position nor a time like 2026-11-22T08:03:14Z")]
pub struct ParseAsOfError;

impl FromStr for AsOf {
    type Err = ParseAsOfError;

    fn from_str(text: &str) -> Result<Self, ParseAsOfError> {
        match text.parse() {
            Ok(position) => Ok(Self::Position(Position::new(position))),
            Err(_) => parse_time(text).map(Self::Time).ok_or(ParseAsOfError),
        }
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => write!(out, "position {position}"),
            Self::Time(time) => time.fmt(out),
        }
    }
}

/// A user as of an earlier point, for administrators and auditors. Values erased since are lost.
#[derive(Clone, Debug, Serialize)]
pub struct UserAt {
    /// A UUID, or the 24 hex digits of an imported `ObjectId`.
    pub id: String,
    /// Null if it was erased since.
    pub email: Option<String>,
    /// Null if it was erased since.
    pub username: Option<String>,
    pub is_active: bool,
    pub email_verified: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
    pub roles: Vec<&'static str>,
    /// The version of the stream at that point.
    pub version: u64,
    /// The position of the last event at that point.
    pub position: u64,
}

/// The state of a user after the events applied so far.
#[derive(Clone, Debug, Default)]
pub struct ReplayedUser {
    pub state: User,
    /// The time of the first event.
    first: Option<Timestamp>,
    version: u64,
    position: Position,
    /// The version of the last event that revoked tokens.
    tokens_from: u64,
}

impl ReplayedUser {
    pub fn apply(&mut self, envelope: &Envelope, user_event: &UserEvent) {
        self.state = user::evolve(std::mem::take(&mut self.state), user_event);
        self.first.get_or_insert(envelope.at);
        (self.version, self.position) = (envelope.version, envelope.position);
        if user_event.revokes_tokens() {
            self.tokens_from = envelope.version;
        }
    }

    /// `None` before the registration and after the erasure.
    pub(super) fn session_owner(&self, id: UserId) -> Option<SessionOwner> {
        let User::Present(account) = &self.state else { return None };
        Some(SessionOwner { id, is_active: account.is_active, tokens_from: self.tokens_from })
    }

    /// `None` before the registration and after the erasure.
    #[must_use]
    pub fn account_as_of(&self, id: UserId) -> Option<UserAt> {
        let (User::Present(account), Some(first)) = (&self.state, self.first) else { return None };
        let known = |text: Erasable<&str>| text.known().map(|text| (*text).to_owned());
        Some(UserAt {
            id: id.to_string(),
            email: known(account.email.as_ref().map(EmailAddress::as_str)),
            username: known(account.username.as_ref().map(Username::as_str)),
            is_active: account.is_active,
            email_verified: account.is_email_verified,
            created_at: rfc3339(event_codec::registered_at(account, first)),
            roles: account.roles.iter().map(|role| role.as_str()).collect(),
            version: self.version,
            position: self.position.get(),
        })
    }
}

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
    /// `email`, `email_verified`, `username`, `password`, `is_active`, `roles` or `is_locked`.
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
        UserEvent::SessionRevoked { reason, .. } => Some(reason.as_str().into()),
        UserEvent::UserRegistered { .. }
        | UserEvent::UserImported { .. }
        | UserEvent::RoleGranted { .. }
        | UserEvent::RoleRevoked { .. }
        | UserEvent::UserLocked
        | UserEvent::UserUnlocked
        | UserEvent::PasswordRehashed { .. }
        | UserEvent::EmailChanged { .. }
        | UserEvent::UsernameChanged { .. }
        | UserEvent::PasswordChanged { .. }
        | UserEvent::TokensRevoked
        | UserEvent::EmailVerificationRequested
        | UserEvent::EmailVerified
        | UserEvent::PasswordResetRequested => None,
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
    let password = before.and_then(|before| before.password_hash.as_ref()) != after.password_hash.as_ref();
    let password = password.then_some(FieldChange { field: "password", from: None, to: None });
    let is_active = field("is_active", |account| account.is_active.into());
    let roles = field("roles", |account| account.roles.iter().map(|role| role.as_str()).collect());
    let was_locked = before.is_some_and(|before| before.is_locked);
    let is_locked = (was_locked != after.is_locked).then(|| FieldChange {
        field: "is_locked",
        from: Some(was_locked.into()),
        to: Some(after.is_locked.into()),
    });
    let email_verified = before.is_some_and(|before| before.is_email_verified);
    let email_verified = (email_verified != after.is_email_verified).then(|| FieldChange {
        field: "email_verified",
        from: Some(email_verified.into()),
        to: Some(after.is_email_verified.into()),
    });
    [email, email_verified, username, password, is_active, roles, is_locked].into_iter().flatten().collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UserChangeKind {
    Registered,
    Changed,
    Erased,
}

impl UserChangeKind {
    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Changed => "changed",
            Self::Erased => "erased",
        }
    }
}

/// A user with events between two positions of the log.
#[derive(Clone, Debug, Serialize)]
pub struct UserDifference {
    /// A UUID, or the 24 hex digits of an imported `ObjectId`.
    pub id: String,
    pub became: UserChangeKind,
    /// The number of the user's events between the positions.
    pub events: u64,
    /// The fields whose value differs at the end; empty if every change was reverted.
    pub changes: Vec<FieldChange>,
}

/// A user at the first position and at the last one so far.
#[derive(Default)]
pub(super) struct ReplayedSpan {
    pub(super) before: ReplayedUser,
    pub(super) after: ReplayedUser,
    pub(super) events: u64,
}

/// By ascending id.
pub(super) fn user_differences(spans: BTreeMap<UserId, ReplayedSpan>) -> Vec<UserDifference> {
    let difference = |(id, ReplayedSpan { before, after, events }): (UserId, ReplayedSpan)| {
        let became = match (&before.state, &after.state) {
            (_, User::Erased) => UserChangeKind::Erased,
            (User::Absent, _) => UserChangeKind::Registered,
            _ => UserChangeKind::Changed,
        };
        UserDifference {
            id: id.to_string(),
            became,
            events,
            changes: changed_fields(&before.state, &after.state),
        }
    };
    spans.into_iter().map(difference).collect()
}
