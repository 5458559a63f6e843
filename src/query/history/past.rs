//! Users as their events leave them.

use domain::{EmailAddress, Personal, User, UserEvent, UserId, Username, user};
use jiff::Timestamp;
use projections::decode;
use serde::Serialize;
use store::canonical::rfc3339;
use store::{Envelope, Position};
use utoipa::ToSchema;

/// A user as administrators and auditors see what they were. What was erased since cannot be known any more.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PastUser {
    /// A UUID, or the 24 hex digits of an imported `ObjectId`.
    pub id: String,
    /// Their e-mail address then; null if it was erased since.
    #[schema(format = Email)]
    pub email: Option<String>,
    /// Their username then; null if it was erased since.
    pub username: Option<String>,
    /// Whether they could log in.
    pub is_active: bool,
    /// When the account was opened: RFC 3339, UTC.
    #[schema(format = DateTime)]
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
pub struct Life {
    /// What they are.
    pub user: User,
    /// When their first event was appended.
    first: Option<Timestamp>,
    version: u64,
    position: Position,
}

impl Life {
    /// Takes in the next event.
    pub fn take(&mut self, envelope: &Envelope, fact: &UserEvent) {
        self.user = user::evolve(std::mem::take(&mut self.user), fact);
        self.first.get_or_insert(envelope.at);
        (self.version, self.position) = (envelope.version, envelope.position);
    }

    /// What can be told of the user of that id; nothing before they have registered and after they were erased.
    #[must_use]
    pub fn told(&self, id: UserId) -> Option<PastUser> {
        let (User::Present(account), Some(first)) = (&self.user, self.first) else { return None };
        let known = |text: Personal<&str>| text.known().map(|text| (*text).to_owned());
        Some(PastUser {
            id: id.to_string(),
            email: known(account.email.as_ref().map(EmailAddress::as_str)),
            username: known(account.username.as_ref().map(Username::as_str)),
            is_active: account.is_active,
            created_at: rfc3339(decode::created_at(account, first)),
            roles: account.roles.iter().map(|role| role.as_str()).collect(),
            version: self.version,
            position: self.position.get(),
        })
    }
}
