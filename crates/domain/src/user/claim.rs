//! Derives the unique claims of an event (e-mail address, username). The event store enforces them.

use super::UserEvent;
use crate::value::{EmailAddress, Erasable, Username};

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
    /// The unique claims that this event takes, by kind and key. They must be free, held by the user, or released in
    /// the same commit. Users who registered before the claims on skeletons were introduced lack theirs if another
    /// user holds it.
    ///
    /// Erased values take no claims: the erasure has released them.
    #[must_use]
    pub fn claims_taken(&self) -> Vec<(ClaimKind, String)> {
        match self {
            Self::UserRegistered { email, username, .. } | Self::UserImported { email, username, .. } => {
                of_email(email).chain(of_username(username)).collect()
            }
            Self::EmailChanged { email, .. } => of_email(email).collect(),
            Self::UsernameChanged { username, .. } => of_username(username).collect(),
            Self::UserDeactivated { .. }
            | Self::UserReactivated { .. }
            | Self::RoleGranted { .. }
            | Self::RoleRevoked { .. }
            | Self::UserLocked
            | Self::UserUnlocked
            | Self::PasswordRehashed { .. }
            | Self::PasswordChanged { .. }
            | Self::TokensRevoked
            | Self::SessionRevoked { .. }
            | Self::EmailVerificationRequested
            | Self::EmailVerified
            | Self::PasswordResetRequested
            | Self::UserErased { .. } => Vec::new(),
        }
    }

    /// The unique claims that this event releases, by kind and key, before it takes others. An erasure releases all
    /// claims of its user.
    #[must_use]
    pub fn claims_released(&self) -> Vec<(ClaimKind, String)> {
        match self {
            Self::EmailChanged { previous, .. } => of_email(previous).collect(),
            Self::UsernameChanged { previous, .. } => of_username(previous).collect(),
            Self::UserRegistered { .. }
            | Self::UserImported { .. }
            | Self::UserDeactivated { .. }
            | Self::UserReactivated { .. }
            | Self::RoleGranted { .. }
            | Self::RoleRevoked { .. }
            | Self::UserLocked
            | Self::UserUnlocked
            | Self::PasswordRehashed { .. }
            | Self::PasswordChanged { .. }
            | Self::TokensRevoked
            | Self::SessionRevoked { .. }
            | Self::EmailVerificationRequested
            | Self::EmailVerified
            | Self::PasswordResetRequested
            | Self::UserErased { .. } => Vec::new(),
        }
    }
}

fn of_email(email: &Erasable<EmailAddress>) -> impl Iterator<Item = (ClaimKind, String)> + use<> {
    email.known().map(|email| (ClaimKind::Email, email.key())).into_iter()
}

fn of_username(username: &Erasable<Username>) -> impl Iterator<Item = (ClaimKind, String)> + use<> {
    let claims = username
        .known()
        .map(|name| [(ClaimKind::Username, name.key()), (ClaimKind::UsernameSkeleton, name.skeleton())]);
    claims.into_iter().flatten()
}
