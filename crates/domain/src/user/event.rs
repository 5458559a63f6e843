//! The events of a user.

use crate::value::{EmailAddress, Erasable, ErasureReason, Moment, PasswordHash, Reason, Role, Username};

/// An event of one user. Time and actor are in the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// The user registered. The account is active and has no role.
    UserRegistered {
        /// The e-mail address.
        email: Erasable<EmailAddress>,
        /// The username.
        username: Erasable<Username>,
        /// The password hash.
        password_hash: Erasable<PasswordHash>,
    },
    /// The user was imported from another system. The account has no role.
    UserImported {
        /// The e-mail address.
        email: Erasable<EmailAddress>,
        /// The username.
        username: Erasable<Username>,
        /// The password hash of the other system.
        password_hash: Erasable<PasswordHash>,
        /// Whether the account is active, as in the other system.
        is_active: bool,
        /// The time of registration in the other system.
        created_at: Moment,
    },
    /// The user may no longer sign in.
    UserDeactivated {
        /// The reason, if one was given.
        reason: Option<Erasable<Reason>>,
    },
    /// The user may sign in again.
    UserReactivated {
        /// The reason, if one was given.
        reason: Option<Erasable<Reason>>,
    },
    /// The user was granted a role.
    RoleGranted {
        /// The role.
        role: Role,
    },
    /// A role of the user was revoked.
    RoleRevoked {
        /// The role.
        role: Role,
    },
    /// All personal data was erased (crypto-shredding). The last event of the stream; the user was inactive
    /// before.
    UserErased {
        /// The reason.
        reason: ErasureReason,
    },
}

impl UserEvent {
    pub(super) const REGISTERED: &'static str = "UserRegistered";
    pub(crate) const IMPORTED: &'static str = "UserImported";
    pub(super) const DEACTIVATED: &'static str = "UserDeactivated";
    pub(crate) const REACTIVATED: &'static str = "UserReactivated";
    pub(crate) const ROLE_GRANTED: &'static str = "RoleGranted";
    pub(crate) const ROLE_REVOKED: &'static str = "RoleRevoked";
    pub(super) const ERASED: &'static str = "UserErased";

    /// All event types of a user.
    pub const TYPES: &'static [&'static str] = &[
        Self::REGISTERED,
        Self::IMPORTED,
        Self::DEACTIVATED,
        Self::REACTIVATED,
        Self::ROLE_GRANTED,
        Self::ROLE_REVOKED,
        Self::ERASED,
    ];

    /// The stored event type, one of [`TYPES`](UserEvent::TYPES).
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

    /// Whether this event revokes every token issued before it.
    ///
    /// A lost permission takes effect immediately; a new one may wait for the next sign-in.
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

    /// Whether the commit of this event erases the user's stream: data key and unique claims are destroyed.
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
