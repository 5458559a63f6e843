//! Users as their events leave them.

use domain::{EmailAddress, Erasable, User, UserEvent, UserId, Username, user};
use jiff::Timestamp;
use serde::Serialize;
use store::canonical::rfc3339;
use store::{Envelope, Position};

/// A user as administrators and auditors see what they were. What was erased since cannot be known any more.
#[derive(Clone, Debug, Serialize)]
pub struct UserAt {
    /// A UUID, or the 24 hex digits of an imported `ObjectId`.
    pub id: String,
    /// Their e-mail address then; null if it was erased since.
    pub email: Option<String>,
    /// Their username then; null if it was erased since.
    pub username: Option<String>,
    /// Whether they could log in.
    pub is_active: bool,
    /// When the account was opened: RFC 3339, UTC.
    pub created_at: String,
    /// What they could do beyond their own account.
    pub roles: Vec<&'static str>,
    /// The version of their stream then.
    pub version: u64,
    /// The position of their last event then.
    pub position: u64,
}

/// What a user has come to while their events pass by.
#[derive(Clone, Debug, Default)]
pub struct ReplayedUser {
    /// What they are.
    pub state: User,
    /// When their first event was appended.
    first: Option<Timestamp>,
    version: u64,
    position: Position,
}

impl ReplayedUser {
    /// Takes in the next event.
    pub fn apply(&mut self, envelope: &Envelope, user_event: &UserEvent) {
        self.state = user::evolve(std::mem::take(&mut self.state), user_event);
        self.first.get_or_insert(envelope.at);
        (self.version, self.position) = (envelope.version, envelope.position);
    }

    /// What can be told of the user of that id; nothing before they have registered and after they were erased.
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
