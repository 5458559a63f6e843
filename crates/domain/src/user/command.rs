//! Commands on a user.

use crate::value::{EmailAddress, ErasureReason, Moment, PasswordHash, Reason, Role, Username};

/// A command with parsed values. The caller is already authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserCommand {
    /// Open the account. The password was hashed before: this crate never sees one in plain text, except to
    /// check its length.
    Register {
        /// Where the user gets mail.
        email: EmailAddress,
        /// The name to show.
        username: Username,
        /// The hash of their password.
        password_hash: PasswordHash,
    },
    /// Open the account of a user who comes from another system.
    Import {
        /// Where the user gets mail.
        email: EmailAddress,
        /// The name to show.
        username: Username,
        /// The hash of their password, as the other system made it.
        password_hash: PasswordHash,
        /// Whether they could sign in there.
        is_active: bool,
        /// When they registered there.
        created_at: Moment,
    },
    /// Keep the user from signing in.
    Deactivate {
        /// Why, in an administrator's words. Users who deactivate themselves need give none.
        reason: Option<Reason>,
    },
    /// Let the user sign in again.
    Reactivate {
        /// Why, in an administrator's words.
        reason: Option<Reason>,
    },
    /// Let the user do what the role allows.
    GrantRole {
        /// The role.
        role: Role,
    },
    /// Take the role away.
    RevokeRole {
        /// The role.
        role: Role,
    },
    /// Destroy all personal data permanently (crypto-shredding).
    Erase {
        /// Why.
        reason: ErasureReason,
    },
}
