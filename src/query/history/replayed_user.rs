//! Users rebuilt by replaying their events.

use domain::{EmailAddress, Erasable, User, UserEvent, UserId, Username, user};
use jiff::Timestamp;
use serde::Serialize;
use store::canonical::rfc3339;
use store::{Envelope, Position};

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
}

impl ReplayedUser {
    pub fn apply(&mut self, envelope: &Envelope, user_event: &UserEvent) {
        self.state = user::evolve(std::mem::take(&mut self.state), user_event);
        self.first.get_or_insert(envelope.at);
        (self.version, self.position) = (envelope.version, envelope.position);
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
            created_at: rfc3339(event_codec::registered_at(account, first)),
            roles: account.roles.iter().map(|role| role.as_str()).collect(),
            version: self.version,
            position: self.position.get(),
        })
    }
}
