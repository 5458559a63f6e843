//! Judging a command against a user's past.

use super::{Command, User, UserEvent};
use crate::value::{ErasureReason, Personal};

/// Why a command cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The id belongs to an account already.
    #[error("a user is already registered under this id")]
    AlreadyRegistered,
    /// There is no account to act on.
    #[error("no user is registered under this id")]
    Unknown,
    /// There was one, and all that was personal was destroyed: nothing can be done with this id again.
    #[error("the user of this id was erased; nothing can be done with them, and nobody else gets the id")]
    Erased,
}

/// Judges `command` against the user as they are. No events means that it is already so.
///
/// # Errors
/// [`Refusal`] if the command makes no sense for this user.
pub fn decide(user: &User, command: Command) -> Result<Vec<UserEvent>, Refusal> {
    match (user, command) {
        (User::Absent, Command::Register { email, username, password_hash }) => {
            Ok(vec![UserEvent::UserRegistered {
                email: Personal::Known(email),
                username: Personal::Known(username),
                password_hash: Personal::Known(password_hash),
            }])
        }
        (User::Absent, Command::Import { email, username, password_hash, is_active, created_at }) => {
            Ok(vec![UserEvent::UserImported {
                email: Personal::Known(email),
                username: Personal::Known(username),
                password_hash: Personal::Known(password_hash),
                is_active,
                created_at,
            }])
        }
        (User::Present(_), Command::Register { .. } | Command::Import { .. }) => {
            Err(Refusal::AlreadyRegistered)
        }
        (User::Absent, _) => Err(Refusal::Unknown),
        (User::Erased, _) => Err(Refusal::Erased),
        (User::Present(account), Command::Deactivate { reason }) if account.is_active => {
            let reason = reason.map(Personal::Known);
            Ok(vec![UserEvent::UserDeactivated { reason }])
        }
        (User::Present(account), Command::Reactivate { reason }) if !account.is_active => {
            let reason = reason.map(Personal::Known);
            Ok(vec![UserEvent::UserReactivated { reason }])
        }
        (User::Present(account), Command::GrantRole { role }) if !account.roles.contains(&role) => {
            Ok(vec![UserEvent::RoleGranted { role }])
        }
        (User::Present(account), Command::RevokeRole { role }) if account.roles.contains(&role) => {
            Ok(vec![UserEvent::RoleRevoked { role }])
        }
        (User::Present(account), Command::Erase { reason }) => Ok(erasure(account.is_active, reason)),
        (
            User::Present(_),
            Command::Deactivate { .. }
            | Command::Reactivate { .. }
            | Command::GrantRole { .. }
            | Command::RevokeRole { .. },
        ) => Ok(vec![]),
    }
}

/// Who is erased was inactive before. An active user is deactivated first, in the same append and without words, which
/// would be personal: so whoever counts active users by the events alone need not ask what an erased one was.
fn erasure(is_active: bool, reason: ErasureReason) -> Vec<UserEvent> {
    let deactivated = is_active.then_some(UserEvent::UserDeactivated { reason: None });
    deactivated.into_iter().chain([UserEvent::UserErased { reason }]).collect()
}
