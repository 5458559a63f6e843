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
    /// Where the user gets mail, and what they sign in with.
    pub email: Erasable<EmailAddress>,
    /// The name they are shown by.
    pub username: Erasable<Username>,
    /// What their password is verified against.
    pub password_hash: Erasable<PasswordHash>,
    /// Whether they may sign in.
    pub is_active: bool,
    /// When they registered in the system that they were brought from. Who registered here did so when their
    /// first event was appended.
    pub created_at: Option<Moment>,
    /// What they may do beyond their own account.
    pub roles: BTreeSet<Role>,
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
