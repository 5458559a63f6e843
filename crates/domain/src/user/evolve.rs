//! Folds a user's events into their state.

use std::collections::BTreeSet;

use super::{Account, User, UserEvent};
use crate::value::{EmailAddress, Erasable, PasswordHash, Username};

/// Applies one event. Total: an event that does not fit the state changes nothing but the version.
#[must_use]
pub fn evolve(user: User, event: &UserEvent) -> User {
    // Erasure is final; later events of a malformed log are ignored.
    if matches!(user, User::Erased) {
        return User::Erased;
    }
    match event {
        UserEvent::UserRegistered { email, username, password_hash } => {
            User::Present(opened(email, username, password_hash.as_ref()))
        }
        UserEvent::UserImported { email, username, password_hash, is_active, created_at } => {
            User::Present(Account {
                is_active: *is_active,
                created_at: Some(*created_at),
                ..opened(email, username, password_hash.as_ref())
            })
        }
        UserEvent::UserDeactivated { .. } => changed(user, |account| {
            account.is_active = false;
            account.void_mail_tokens();
        }),
        UserEvent::UserReactivated { .. } => changed(user, |account| account.is_active = true),
        UserEvent::RoleGranted { role } => changed(user, |account| {
            account.roles.insert(*role);
        }),
        UserEvent::RoleRevoked { role } => changed(user, |account| {
            account.roles.remove(role);
        }),
        UserEvent::UserLocked => changed(user, |account| account.is_locked = true),
        UserEvent::UserUnlocked => changed(user, |account| account.is_locked = false),
        UserEvent::PasswordRehashed { password_hash } => {
            changed(user, |account| account.password_hash = Some(password_hash.clone()))
        }
        UserEvent::EmailChanged { previous: _, email } => changed(user, |account| {
            account.email = email.clone();
            account.is_email_verified = false;
            account.void_mail_tokens();
        }),
        UserEvent::UsernameChanged { previous: _, username } => {
            changed(user, |account| account.username = username.clone())
        }
        UserEvent::PasswordChanged { password_hash } => changed(user, |account| {
            account.password_hash = Some(password_hash.clone());
            account.reset_tokens_after = account.version;
        }),
        UserEvent::EmailVerified => changed(user, |account| {
            account.is_email_verified = true;
            account.verification_tokens_after = account.version;
        }),
        UserEvent::TokensRevoked => changed(user, |account| account.tokens_revoked_at = account.version),
        UserEvent::SessionRevoked { .. }
        | UserEvent::EmailVerificationRequested
        | UserEvent::PasswordResetRequested => changed(user, |_| ()),
        UserEvent::UserErased { reason: _ } => User::Erased,
    }
}

/// The account after its first event.
fn opened(
    email: &Erasable<EmailAddress>,
    username: &Erasable<Username>,
    password_hash: Option<&Erasable<PasswordHash>>,
) -> Account {
    Account {
        email: email.clone(),
        username: username.clone(),
        password_hash: password_hash.cloned(),
        is_active: true,
        created_at: None,
        roles: BTreeSet::new(),
        is_locked: false,
        is_email_verified: false,
        version: 1,
        tokens_revoked_at: 0,
        verification_tokens_after: 0,
        reset_tokens_after: 0,
    }
}

/// Folds the whole stream of a user.
#[must_use]
pub fn fold<'a>(events: impl IntoIterator<Item = &'a UserEvent>) -> User {
    events.into_iter().fold(User::default(), evolve)
}

/// The user after an event of a later version.
fn changed(user: User, change: impl FnOnce(&mut Account)) -> User {
    match user {
        User::Absent | User::Erased => user,
        User::Present(mut account) => {
            account.version = account.version.saturating_add(1);
            change(&mut account);
            User::Present(account)
        }
    }
}
