//! The events of a user.

use crate::value::{
    EmailAddress, Erasable, ErasureReason, Moment, PasswordHash, Reason, RevocationReason, Role, SessionId,
    Username,
};

/// An event of one user. Time and actor are in the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// The user registered, or was registered by an administrator. The account is active and has no role.
    UserRegistered {
        /// The e-mail address.
        email: Erasable<EmailAddress>,
        /// The username.
        username: Erasable<Username>,
        /// The password hash; `None` if the user has no password yet.
        password_hash: Option<Erasable<PasswordHash>>,
    },
    /// The user was imported from another system. The account has no role.
    UserImported {
        /// The e-mail address.
        email: Erasable<EmailAddress>,
        /// The username.
        username: Erasable<Username>,
        /// The password hash of the other system; `None` if the user has no password yet.
        password_hash: Option<Erasable<PasswordHash>>,
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
    /// Repeated failed logins delay further ones (throttling). Nothing else changes: tokens stay valid.
    UserLocked,
    /// The delay of logins ended: by an administrator, or by a successful login.
    UserUnlocked,
    /// The password was hashed again at a login, with current costs. The password is the same.
    PasswordRehashed {
        /// The new hash.
        password_hash: Erasable<PasswordHash>,
    },
    /// The user has another e-mail address.
    EmailChanged {
        /// The address until then, whose claim is released.
        previous: Erasable<EmailAddress>,
        /// The new address.
        email: Erasable<EmailAddress>,
    },
    /// The user has another username.
    UsernameChanged {
        /// The username until then, whose claims are released.
        previous: Erasable<Username>,
        /// The new username.
        username: Erasable<Username>,
    },
    /// The user has another password.
    PasswordChanged {
        /// The hash of the new password.
        password_hash: Erasable<PasswordHash>,
    },
    /// Every token and session of the user ended: by the user, or by an administrator.
    TokensRevoked,
    /// One session ended before its time. A session that expires leaves no event.
    SessionRevoked {
        /// The session.
        session: SessionId,
        /// Why it ended.
        reason: RevocationReason,
    },
    /// A mail was requested by which the user can prove to receive mail at the e-mail address.
    EmailVerificationRequested,
    /// The user has proved to receive mail at the e-mail address.
    EmailVerified,
    /// A mail was requested by which the user can set another password.
    PasswordResetRequested,
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
    pub(super) const LOCKED: &'static str = "UserLocked";
    pub(super) const UNLOCKED: &'static str = "UserUnlocked";
    pub(super) const REHASHED: &'static str = "PasswordRehashed";
    pub(super) const EMAIL_CHANGED: &'static str = "EmailChanged";
    pub(super) const USERNAME_CHANGED: &'static str = "UsernameChanged";
    pub(super) const PASSWORD_CHANGED: &'static str = "PasswordChanged";
    pub(super) const TOKENS_REVOKED: &'static str = "TokensRevoked";
    pub(super) const SESSION_REVOKED: &'static str = "SessionRevoked";
    pub(super) const VERIFICATION_REQUESTED: &'static str = "EmailVerificationRequested";
    pub(super) const EMAIL_VERIFIED: &'static str = "EmailVerified";
    pub(super) const RESET_REQUESTED: &'static str = "PasswordResetRequested";
    pub(crate) const ERASED: &'static str = "UserErased";

    /// All event types of a user.
    pub const TYPES: &'static [&'static str] = &[
        Self::REGISTERED,
        Self::IMPORTED,
        Self::DEACTIVATED,
        Self::REACTIVATED,
        Self::ROLE_GRANTED,
        Self::ROLE_REVOKED,
        Self::LOCKED,
        Self::UNLOCKED,
        Self::REHASHED,
        Self::EMAIL_CHANGED,
        Self::USERNAME_CHANGED,
        Self::PASSWORD_CHANGED,
        Self::TOKENS_REVOKED,
        Self::SESSION_REVOKED,
        Self::VERIFICATION_REQUESTED,
        Self::EMAIL_VERIFIED,
        Self::RESET_REQUESTED,
        Self::ERASED,
    ];

    /// The stored event types that open the account of a user.
    pub const OPENING_TYPES: &'static [&'static str] = &[Self::REGISTERED, Self::IMPORTED];

    /// The stored event types that give a user a username.
    pub const NAMING_TYPES: &'static [&'static str] =
        &[Self::REGISTERED, Self::IMPORTED, Self::USERNAME_CHANGED];

    /// The stored event type of [`UserImported`](UserEvent::UserImported).
    pub const IMPORTED_TYPE: &'static str = Self::IMPORTED;

    /// The stored event types that may cause a mail to the user.
    pub const MAIL_TYPES: &'static [&'static str] = &[
        Self::REGISTERED,
        Self::EMAIL_CHANGED,
        Self::PASSWORD_CHANGED,
        Self::VERIFICATION_REQUESTED,
        Self::RESET_REQUESTED,
    ];

    /// The stored event type of [`UserRegistered`](UserEvent::UserRegistered).
    pub const REGISTERED_TYPE: &'static str = Self::REGISTERED;

    /// The stored event type of [`UserUnlocked`](UserEvent::UserUnlocked), which nodes watch for.
    pub const UNLOCKED_TYPE: &'static str = Self::UNLOCKED;

    /// The stored event type of [`SessionRevoked`](UserEvent::SessionRevoked).
    pub const SESSION_REVOKED_TYPE: &'static str = Self::SESSION_REVOKED;

    /// The stored event types of requests for mails, which are limited.
    pub const VERIFICATION_REQUESTED_TYPE: &'static str = Self::VERIFICATION_REQUESTED;
    /// As [`VERIFICATION_REQUESTED_TYPE`](UserEvent::VERIFICATION_REQUESTED_TYPE).
    pub const RESET_REQUESTED_TYPE: &'static str = Self::RESET_REQUESTED;

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
            Self::UserLocked => Self::LOCKED,
            Self::UserUnlocked => Self::UNLOCKED,
            Self::PasswordRehashed { .. } => Self::REHASHED,
            Self::EmailChanged { .. } => Self::EMAIL_CHANGED,
            Self::UsernameChanged { .. } => Self::USERNAME_CHANGED,
            Self::PasswordChanged { .. } => Self::PASSWORD_CHANGED,
            Self::TokensRevoked => Self::TOKENS_REVOKED,
            Self::SessionRevoked { .. } => Self::SESSION_REVOKED,
            Self::EmailVerificationRequested => Self::VERIFICATION_REQUESTED,
            Self::EmailVerified => Self::EMAIL_VERIFIED,
            Self::PasswordResetRequested => Self::RESET_REQUESTED,
            Self::UserErased { .. } => Self::ERASED,
        }
    }

    /// Whether this event revokes every token issued before it.
    ///
    /// A lost permission takes effect immediately; a new one may wait for the next sign-in. A new password also ends
    /// what someone else may have opened with the old one.
    #[must_use]
    pub const fn revokes_tokens(&self) -> bool {
        match self {
            Self::UserDeactivated { .. }
            | Self::RoleRevoked { .. }
            | Self::PasswordChanged { .. }
            | Self::TokensRevoked
            | Self::UserErased { .. } => true,
            Self::UserRegistered { .. }
            | Self::UserImported { .. }
            | Self::UserReactivated { .. }
            | Self::RoleGranted { .. }
            | Self::UserLocked
            | Self::UserUnlocked
            | Self::PasswordRehashed { .. }
            | Self::EmailChanged { .. }
            | Self::UsernameChanged { .. }
            | Self::SessionRevoked { .. }
            | Self::EmailVerificationRequested
            | Self::EmailVerified
            | Self::PasswordResetRequested => false,
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
            | Self::RoleRevoked { .. }
            | Self::UserLocked
            | Self::UserUnlocked
            | Self::PasswordRehashed { .. }
            | Self::EmailChanged { .. }
            | Self::UsernameChanged { .. }
            | Self::PasswordChanged { .. }
            | Self::TokensRevoked
            | Self::SessionRevoked { .. }
            | Self::EmailVerificationRequested
            | Self::EmailVerified
            | Self::PasswordResetRequested => false,
        }
    }
}
