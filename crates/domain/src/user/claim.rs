//! Derives the unique claims of an event (e-mail address, username). The event store enforces them.

use super::UserEvent;
use crate::value::EmailAddress;

/// The kind of a unique claim, which one user at a time can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimKind {
    /// An e-mail address, by [`EmailAddress::key`].
    Email,
    /// A username, by [`Username::key`](crate::Username::key).
    Username,
    /// Usernames that look alike, by [`Username::skeleton`](crate::Username::skeleton).
    UsernameSkeleton,
}

impl ClaimKind {
    /// The name of the kind, which is part of the claim.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ClaimKind::Email => "email",
            ClaimKind::Username => "username",
            ClaimKind::UsernameSkeleton => "username_skeleton",
        }
    }
}

impl UserEvent {
    /// The unique claims that this event takes, by kind and key. They must be free or held by the user. Users who
    /// registered before the claims on skeletons were introduced lack theirs if another user holds it.
    ///
    /// Erased values take no claims: the erasure has released them.
    #[must_use]
    pub fn claims_taken(&self) -> Vec<(ClaimKind, String)> {
        match self {
            Self::UserRegistered { email, username, .. } | Self::UserImported { email, username, .. } => {
                let email = email.known().map(EmailAddress::key);
                let email = email.map(|key| (ClaimKind::Email, key));
                let username = username.known().map(|name| {
                    [(ClaimKind::Username, name.key()), (ClaimKind::UsernameSkeleton, name.skeleton())]
                });
                email.into_iter().chain(username.into_iter().flatten()).collect()
            }
            Self::UserDeactivated { .. }
            | Self::UserReactivated { .. }
            | Self::RoleGranted { .. }
            | Self::RoleRevoked { .. }
            | Self::UserLocked
            | Self::UserUnlocked
            | Self::PasswordRehashed { .. }
            | Self::UserErased { .. } => Vec::new(),
        }
    }
}
