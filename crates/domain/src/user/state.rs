//! The state of a user.

use std::collections::BTreeSet;

use crate::value::{EmailAddress, Erasable, Moment, PasswordHash, Role, Username};

/// The folded events of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum User {
    /// No user has registered under this id.
    #[default]
    Absent,
    /// A registered user.
    Present(Account),
    /// All personal data was destroyed. The id can never be used again.
    Erased,
}

/// The account of a registered user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The e-mail address, with which the user signs in.
    pub email: Erasable<EmailAddress>,
    /// The username.
    pub username: Erasable<Username>,
    /// The password hash; `None` if the user has no password yet, and cannot sign in.
    pub password_hash: Option<Erasable<PasswordHash>>,
    /// Whether the user may sign in.
    pub is_active: bool,
    /// The time of registration in the system of an import. Otherwise it is the time of the first event.
    pub created_at: Option<Moment>,
    /// The roles of the user.
    pub roles: BTreeSet<Role>,
    /// Whether repeated failed logins delay further ones.
    pub is_locked: bool,
    /// Whether the user has proved to receive mail at the e-mail address.
    pub is_email_verified: bool,
    /// The version of the stream: the number of its events.
    pub version: u64,
    /// The version of the last event by which the user, or an administrator, ended every token and session; zero if
    /// there was none.
    pub tokens_revoked_at: u64,
    /// Mail tokens that verify the e-mail address are void up to this version.
    pub verification_tokens_after: u64,
    /// Mail tokens that set a password are void up to this version.
    pub reset_tokens_after: u64,
}

impl Account {
    /// Whether a mail token that was issued for the event of that version may verify the e-mail address.
    #[must_use]
    pub const fn accepts_verification_token(&self, version: u64) -> bool {
        self.is_active && version > self.verification_tokens_after && version <= self.version
    }

    /// Whether a mail token that was issued for the event of that version may set a password. A version above that of
    /// the stream was lost in a restore.
    #[must_use]
    pub const fn accepts_reset_token(&self, version: u64) -> bool {
        self.is_active && version > self.reset_tokens_after && version <= self.version
    }

    /// Voids every mail token issued so far.
    pub(super) const fn void_mail_tokens(&mut self) {
        self.verification_tokens_after = self.version;
        self.reset_tokens_after = self.version;
    }

    /// Whether this is the hash of the current password.
    #[must_use]
    pub fn has_password(&self, hash: &PasswordHash) -> bool {
        self.password_hash.as_ref().and_then(Erasable::known) == Some(hash)
    }
}

impl User {
    /// Whether this user can act as an administrator now: holds the role and may sign in.
    #[must_use]
    pub fn is_active_administrator(&self) -> bool {
        match self {
            User::Absent | User::Erased => false,
            User::Present(account) => account.is_active && account.roles.contains(&Role::Admin),
        }
    }
}
