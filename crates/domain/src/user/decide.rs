//! Decides a command against the state of a user.

use super::{Account, User, UserCommand, UserEvent};
use crate::value::{EmailAddress, Erasable, ErasureReason, PasswordHash, Username};

/// Why a command is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The id is in use.
    #[error("a user is already registered under this id")]
    AlreadyRegistered,
    /// The user does not exist.
    #[error("no user is registered under this id")]
    Unknown,
    /// The user was erased; the id cannot be used again.
    #[error("the user with this id was erased; the account cannot be changed and the id is not reused")]
    Erased,
    /// The password by which the command was confirmed is no longer the user's.
    #[error("the password was changed after this request confirmed the previous one")]
    PasswordChanged,
    /// The mail token was used, a later event has voided it, or it is for an event that is not in the stream.
    #[error("the link in the mail was used already, or is void because the account has changed since")]
    InvalidMailToken,
}

/// Decides `command` against the current state. No events: nothing would change.
///
/// # Errors
/// [`Rejection`] if the state does not allow the command.
pub fn decide(user: &User, command: UserCommand) -> Result<Vec<UserEvent>, Rejection> {
    match (user, command) {
        (User::Absent, UserCommand::Register { email, username, password_hash }) => {
            Ok(vec![UserEvent::UserRegistered {
                email: Erasable::Known(email),
                username: Erasable::Known(username),
                password_hash: password_hash.map(Erasable::Known),
            }])
        }
        (User::Absent, UserCommand::Import { email, username, password_hash, is_active, created_at }) => {
            Ok(vec![UserEvent::UserImported {
                email: Erasable::Known(email),
                username: Erasable::Known(username),
                password_hash: password_hash.map(Erasable::Known),
                is_active,
                created_at,
            }])
        }
        (User::Present(_), UserCommand::Register { .. } | UserCommand::Import { .. }) => {
            Err(Rejection::AlreadyRegistered)
        }
        (User::Absent, _) => Err(Rejection::Unknown),
        (User::Erased, _) => Err(Rejection::Erased),
        (User::Present(account), UserCommand::Deactivate { reason }) if account.is_active => {
            let reason = reason.map(Erasable::Known);
            Ok(vec![UserEvent::UserDeactivated { reason }])
        }
        (User::Present(account), UserCommand::Reactivate { reason }) if !account.is_active => {
            let reason = reason.map(Erasable::Known);
            Ok(vec![UserEvent::UserReactivated { reason }])
        }
        (User::Present(account), UserCommand::GrantRole { role }) if !account.roles.contains(&role) => {
            Ok(vec![UserEvent::RoleGranted { role }])
        }
        (User::Present(account), UserCommand::RevokeRole { role }) if account.roles.contains(&role) => {
            Ok(vec![UserEvent::RoleRevoked { role }])
        }
        (User::Present(account), UserCommand::Lock) if !account.is_locked => Ok(vec![UserEvent::UserLocked]),
        (User::Present(account), UserCommand::Unlock) if account.is_locked => {
            Ok(vec![UserEvent::UserUnlocked])
        }
        (User::Present(account), UserCommand::RehashPassword { previous, password_hash })
            if account.has_password(&previous) && previous != password_hash =>
        {
            Ok(vec![UserEvent::PasswordRehashed { password_hash: Erasable::Known(password_hash) }])
        }
        (User::Present(account), UserCommand::ChangeIdentity { email, username, confirmed }) => {
            check_confirmation(account, confirmed.as_ref())?;
            Ok(identity_changes(account, email, username))
        }
        (User::Present(account), UserCommand::ChangePassword { confirmed, password_hash }) => {
            check_confirmation(account, confirmed.as_ref())?;
            let is_new = !account.has_password(&password_hash);
            let password_hash = Erasable::Known(password_hash);
            Ok(is_new.then_some(UserEvent::PasswordChanged { password_hash }).into_iter().collect())
        }
        (User::Present(account), UserCommand::RevokeTokens { presented })
            if presented.is_none_or(|version| version >= account.tokens_revoked_at) =>
        {
            Ok(vec![UserEvent::TokensRevoked])
        }
        (User::Present(_), UserCommand::RevokeSession { session, reason }) => {
            Ok(vec![UserEvent::SessionRevoked { session, reason }])
        }
        (User::Present(account), UserCommand::RequestEmailVerification)
            if account.is_active && !account.is_email_verified =>
        {
            Ok(vec![UserEvent::EmailVerificationRequested])
        }
        (User::Present(account), UserCommand::VerifyEmail { token_version }) => {
            let accepted = account.accepts_verification_token(token_version);
            accepted.then(|| vec![UserEvent::EmailVerified]).ok_or(Rejection::InvalidMailToken)
        }
        (User::Present(account), UserCommand::RequestPasswordReset) if account.is_active => {
            Ok(vec![UserEvent::PasswordResetRequested])
        }
        (User::Present(account), UserCommand::ResetPassword { token_version, password_hash }) => {
            let accepted = account.accepts_reset_token(token_version);
            accepted.then(|| password_reset(account, password_hash)).ok_or(Rejection::InvalidMailToken)
        }
        (User::Present(account), UserCommand::Erase { reason }) => Ok(erasure(account.is_active, reason)),
        (
            User::Present(_),
            UserCommand::Deactivate { .. }
            | UserCommand::Reactivate { .. }
            | UserCommand::GrantRole { .. }
            | UserCommand::RevokeRole { .. }
            | UserCommand::Lock
            | UserCommand::Unlock
            | UserCommand::RehashPassword { .. }
            | UserCommand::RevokeTokens { .. }
            | UserCommand::RequestEmailVerification
            | UserCommand::RequestPasswordReset,
        ) => Ok(vec![]),
    }
}

fn check_confirmation(account: &Account, confirmed: Option<&PasswordHash>) -> Result<(), Rejection> {
    let is_current = confirmed.is_none_or(|hash| account.has_password(hash));
    if is_current { Ok(()) } else { Err(Rejection::PasswordChanged) }
}

/// The mail was received at the current e-mail address, which is thereby verified: a change of it would have voided
/// the token.
fn password_reset(account: &Account, password_hash: PasswordHash) -> Vec<UserEvent> {
    let changed = UserEvent::PasswordChanged { password_hash: Erasable::Known(password_hash) };
    let verified = (!account.is_email_verified).then_some(UserEvent::EmailVerified);
    [changed].into_iter().chain(verified).collect()
}

fn identity_changes(
    account: &Account,
    email: Option<EmailAddress>,
    username: Option<Username>,
) -> Vec<UserEvent> {
    let email = email.map(Erasable::Known).filter(|email| *email != account.email);
    let username = username.map(Erasable::Known).filter(|username| *username != account.username);
    let email = email.map(|email| UserEvent::EmailChanged { previous: account.email.clone(), email });
    let username =
        username.map(|username| UserEvent::UsernameChanged { previous: account.username.clone(), username });
    email.into_iter().chain(username).collect()
}

/// An erased user is always inactive before. An active user is deactivated in the same append, without a
/// reason, which would be personal data. Active users can thus be counted without the state of erased ones.
fn erasure(is_active: bool, reason: ErasureReason) -> Vec<UserEvent> {
    let deactivated = is_active.then_some(UserEvent::UserDeactivated { reason: None });
    deactivated.into_iter().chain([UserEvent::UserErased { reason }]).collect()
}
