//! Which identities an event claims for its user.

use super::UserEvent;
use crate::value::{EmailAddress, Username};

/// A kind of identity that only one user can have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimKind {
    /// An e-mail address, by [`EmailAddress::key`].
    Email,
    /// A username, by [`Username::key`].
    Username,
}

impl ClaimKind {
    /// The name by which claims of this kind are kept apart from others.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ClaimKind::Email => "email",
            ClaimKind::Username => "username",
        }
    }
}

impl UserEvent {
    /// The identities that must be free, or the user's own, for this event to be appended, by kind and key.
    ///
    /// Erased values claim nothing: whose they were can no longer be said, and erasing them let their claims
    /// fall.
    #[must_use]
    pub fn claims_taken(&self) -> Vec<(ClaimKind, String)> {
        match self {
            Self::UserRegistered { email, username, .. } | Self::UserImported { email, username, .. } => {
                let email = email.known().map(EmailAddress::key);
                let username = username.known().map(Username::key);
                let email = email.map(|key| (ClaimKind::Email, key));
                let username = username.map(|key| (ClaimKind::Username, key));
                email.into_iter().chain(username).collect()
            }
            Self::UserDeactivated { .. }
            | Self::UserReactivated { .. }
            | Self::RoleGranted { .. }
            | Self::RoleRevoked { .. }
            | Self::UserErased { .. } => Vec::new(),
        }
    }
}
