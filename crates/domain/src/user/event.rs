//! What has happened to a user's account.

use crate::value::{EmailAddress, Erasable, ErasureReason, Moment, PasswordHash, Reason, Role, Username};

/// A fact about one user. When it happened, and by whom, is in the envelope around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// The account was opened. It is active and holds no role.
    UserRegistered {
        /// Where the user gets mail.
        email: Erasable<EmailAddress>,
        /// The name to show.
        username: Erasable<Username>,
        /// The hash of their password.
        password_hash: Erasable<PasswordHash>,
    },
    /// The account was opened for a user who was brought from another system. It holds no role.
    UserImported {
        /// Where the user gets mail.
        email: Erasable<EmailAddress>,
        /// The name to show.
        username: Erasable<Username>,
        /// The hash of their password, as the other system made it.
        password_hash: Erasable<PasswordHash>,
        /// Whether they could sign in there, and can here.
        is_active: bool,
        /// When they registered there.
        created_at: Moment,
    },
    /// The user may no longer sign in.
    UserDeactivated {
        /// Why, if a reason was given.
        reason: Option<Erasable<Reason>>,
    },
    /// The user may sign in again.
    UserReactivated {
        /// Why, if a reason was given.
        reason: Option<Erasable<Reason>>,
    },
    /// The user holds a role from here on.
    RoleGranted {
        /// The role.
        role: Role,
    },
    /// The user no longer holds a role.
    RoleRevoked {
        /// The role.
        role: Role,
    },
    /// All that was personal was destroyed with this event, the last that the user will ever have. They were
    /// inactive before.
    UserErased {
        /// Why.
        reason: ErasureReason,
    },
}

impl UserEvent {
    pub(super) const REGISTERED: &'static str = "UserRegistered";
    pub(super) const IMPORTED: &'static str = "UserImported";
    pub(super) const DEACTIVATED: &'static str = "UserDeactivated";
    pub(super) const REACTIVATED: &'static str = "UserReactivated";
    pub(super) const ROLE_GRANTED: &'static str = "RoleGranted";
    pub(super) const ROLE_REVOKED: &'static str = "RoleRevoked";
    pub(super) const ERASED: &'static str = "UserErased";

    /// The names of all events of a user.
    pub const TYPES: &'static [&'static str] = &[
        Self::REGISTERED,
        Self::IMPORTED,
        Self::DEACTIVATED,
        Self::REACTIVATED,
        Self::ROLE_GRANTED,
        Self::ROLE_REVOKED,
        Self::ERASED,
    ];

    /// The name this event has in the log, one of [`TYPES`](UserEvent::TYPES).
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::UserRegistered { .. } => Self::REGISTERED,
            Self::UserImported { .. } => Self::IMPORTED,
            Self::UserDeactivated { .. } => Self::DEACTIVATED,
            Self::UserReactivated { .. } => Self::REACTIVATED,
            Self::RoleGranted { .. } => Self::ROLE_GRANTED,
            Self::RoleRevoked { .. } => Self::ROLE_REVOKED,
            Self::UserErased { .. } => Self::ERASED,
        }
    }

    /// Whether every token issued before this event ends with it.
    ///
    /// Losing a right must take hold at once. Gaining one can wait for the next sign-in.
    #[must_use]
    pub const fn revokes_tokens(&self) -> bool {
        match self {
            Self::UserDeactivated { .. } | Self::RoleRevoked { .. } | Self::UserErased { .. } => true,
            Self::UserRegistered { .. }
            | Self::UserImported { .. }
            | Self::UserReactivated { .. }
            | Self::RoleGranted { .. } => false,
        }
    }

    /// Whether all that is personal in the user's stream, and every claim of theirs, is destroyed in the
    /// commit of this event.
    #[must_use]
    pub const fn erases(&self) -> bool {
        match self {
            Self::UserErased { .. } => true,
            Self::UserRegistered { .. }
            | Self::UserImported { .. }
            | Self::UserDeactivated { .. }
            | Self::UserReactivated { .. }
            | Self::RoleGranted { .. }
            | Self::RoleRevoked { .. } => false,
        }
    }
}
