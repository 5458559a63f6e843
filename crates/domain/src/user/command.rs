//! Commands on a user.

use crate::value::{
    EmailAddress, ErasureReason, Moment, PasswordHash, Reason, RevocationReason, Role, SessionId, Username,
};

/// A command with parsed values. The caller is already authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserCommand {
    /// Register a user. The password is already hashed: this crate receives plain passwords only to check
    /// their length.
    Register {
        /// The e-mail address.
        email: EmailAddress,
        /// The username.
        username: Username,
        /// The password hash, if the user has a password from the start.
        password_hash: Option<PasswordHash>,
    },
    /// Import a user from another system.
    Import {
        /// The e-mail address.
        email: EmailAddress,
        /// The username.
        username: Username,
        /// The password hash of the other system; `None` if the user has to set a password first.
        password_hash: Option<PasswordHash>,
        /// Whether the account was active there.
        is_active: bool,
        /// The time of registration there.
        created_at: Moment,
    },
    /// Deactivate the account: the user can no longer sign in.
    Deactivate {
        /// The reason; users who deactivate themselves may omit it.
        reason: Option<Reason>,
    },
    /// Reactivate the account.
    Reactivate {
        /// The reason, if one is given.
        reason: Option<Reason>,
    },
    /// Grant a role.
    GrantRole {
        /// The role.
        role: Role,
    },
    /// Revoke a role.
    RevokeRole {
        /// The role.
        role: Role,
    },
    /// Record that failed logins delay further ones.
    Lock,
    /// End the delay of logins.
    Unlock,
    /// Replace a password hash by a new one of the same password.
    RehashPassword {
        /// The hash that the password matched. If it is no longer the user's, nothing happens.
        previous: PasswordHash,
        /// The new hash.
        password_hash: PasswordHash,
    },
    /// Change e-mail address, username, or both. What is the same already stays.
    ChangeIdentity {
        /// The new e-mail address, if it is to change.
        email: Option<EmailAddress>,
        /// The new username, if it is to change.
        username: Option<Username>,
        /// The hash of the password by which the change was confirmed, if it was. It must still be the user's.
        confirmed: Option<PasswordHash>,
    },
    /// Change the password.
    ChangePassword {
        /// The hash of the previous password, if the change was confirmed by it. It must still be the user's.
        confirmed: Option<PasswordHash>,
        /// The hash of the new password.
        password_hash: PasswordHash,
    },
    /// End every token and every session.
    RevokeTokens {
        /// The version at issue of the token by which the user asks for it. If all tokens of that version were
        /// revoked meanwhile, there is nothing left to end.
        presented: Option<u64>,
    },
    /// End one session, which is open.
    RevokeSession {
        /// The session.
        session: SessionId,
        /// Why it ends.
        reason: RevocationReason,
    },
    /// Request a mail by which the user can verify the e-mail address.
    RequestEmailVerification,
    /// Verify the e-mail address by a mail token.
    VerifyEmail {
        /// The version of the stream that the token carries.
        token_version: u64,
    },
    /// Request a mail by which the user can set another password.
    RequestPasswordReset,
    /// Set a password by a mail token, which proves the e-mail address as well.
    ResetPassword {
        /// The version of the stream that the token carries.
        token_version: u64,
        /// The hash of the new password.
        password_hash: PasswordHash,
    },
    /// Destroy all personal data permanently (crypto-shredding).
    Erase {
        /// The reason.
        reason: ErasureReason,
    },
}
