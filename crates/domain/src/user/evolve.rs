//! Folds a user's events into their state.

use std::collections::BTreeSet;

use super::{Account, User, UserEvent};

/// Applies one event. Total: an event that does not fit the state changes nothing.
#[must_use]
pub fn evolve(user: User, event: &UserEvent) -> User {
    // Erasure is final; later events of a malformed log are ignored.
    if matches!(user, User::Erased) {
        return User::Erased;
    }
    match event {
        UserEvent::UserRegistered { email, username, password_hash } => User::Present(Account {
            email: email.clone(),
            username: username.clone(),
            password_hash: password_hash.clone(),
            is_active: true,
            created_at: None,
            roles: BTreeSet::new(),
            is_locked: false,
        }),
        UserEvent::UserImported { email, username, password_hash, is_active, created_at } => {
            User::Present(Account {
                email: email.clone(),
                username: username.clone(),
                password_hash: Some(password_hash.clone()),
                is_active: *is_active,
                created_at: Some(*created_at),
                roles: BTreeSet::new(),
                is_locked: false,
            })
        }
        UserEvent::UserDeactivated { .. } => changed(user, |account| account.is_active = false),
        UserEvent::UserReactivated { .. } => changed(user, |account| account.is_active = true),
        UserEvent::RoleGranted { role } => changed(user, |account| {
            account.roles.insert(*role);
        }),
        UserEvent::RoleRevoked { role } => changed(user, |account| {
            account.roles.remove(role);
        }),
        UserEvent::UserLocked => changed(user, |account| account.is_locked = true),
        UserEvent::UserUnlocked => changed(user, |account| account.is_locked = false),
        UserEvent::PasswordRehashed { password_hash } | UserEvent::PasswordChanged { password_hash } => {
            changed(user, |account| account.password_hash = Some(password_hash.clone()))
        }
        UserEvent::EmailChanged { previous: _, email } => {
            changed(user, |account| account.email = email.clone())
        }
        UserEvent::UsernameChanged { previous: _, username } => {
            changed(user, |account| account.username = username.clone())
        }
        UserEvent::TokensRevoked | UserEvent::SessionRevoked { .. } => user,
        UserEvent::UserErased { reason: _ } => User::Erased,
    }
}

/// Folds the whole stream of a user.
#[must_use]
pub fn fold<'a>(events: impl IntoIterator<Item = &'a UserEvent>) -> User {
    events.into_iter().fold(User::default(), evolve)
}

fn changed(user: User, change: impl FnOnce(&mut Account)) -> User {
    match user {
        User::Absent | User::Erased => user,
        User::Present(mut account) => {
            change(&mut account);
            User::Present(account)
        }
    }
}
