//! The fold of `users`: pure, total, one arm per event.

use std::collections::BTreeSet;

use domain::{EmailAddress, Erasable, PasswordHash, UserEvent, UserId, Username};
use jiff::Timestamp;
use store::Envelope;

use super::UserRow;

/// The row after an event. A person whose data was erased has no row, whatever their stream still says.
pub(super) fn fold(
    row: Option<UserRow>,
    id: UserId,
    event: &UserEvent,
    envelope: &Envelope,
) -> Option<UserRow> {
    let row = match event {
        UserEvent::UserRegistered { email, username, password_hash } => {
            let person = known(email, username, password_hash.as_ref());
            person.map(|person| opened(person, id, true, envelope.at, envelope))
        }
        UserEvent::UserImported { email, username, password_hash, is_active, created_at } => {
            let person = known(email, username, password_hash.as_ref());
            let created_at = event_codec::timestamp(*created_at);
            person.map(|person| opened(person, id, *is_active, created_at, envelope))
        }
        UserEvent::UserDeactivated { reason: _ } => row.map(|row| UserRow { is_active: false, ..row }),
        UserEvent::UserReactivated { reason: _ } => row.map(|row| UserRow { is_active: true, ..row }),
        UserEvent::RoleGranted { role } => row.map(|mut row| {
            row.roles.insert(*role);
            row
        }),
        UserEvent::RoleRevoked { role } => row.map(|mut row| {
            row.roles.remove(role);
            row
        }),
        UserEvent::UserLocked
        | UserEvent::UserUnlocked
        | UserEvent::TokensRevoked
        | UserEvent::SessionRevoked { .. }
        | UserEvent::EmailVerificationRequested
        | UserEvent::PasswordResetRequested => row,
        UserEvent::EmailVerified => row.map(|row| UserRow { is_email_verified: true, ..row }),
        UserEvent::PasswordRehashed { password_hash } | UserEvent::PasswordChanged { password_hash } => row
            .map(|row| UserRow {
                password_hash: password_hash.known().cloned().or(row.password_hash),
                ..row
            }),
        UserEvent::EmailChanged { previous: _, email } => row.map(|row| UserRow {
            email: email.known().cloned().unwrap_or(row.email),
            is_email_verified: false,
            ..row
        }),
        UserEvent::UsernameChanged { previous: _, username } => {
            row.map(|row| UserRow { username: username.known().cloned().unwrap_or(row.username), ..row })
        }
        UserEvent::UserErased { reason: _ } => None,
    };
    row.map(|row| UserRow {
        version: envelope.version,
        position: envelope.position,
        tokens_from: if event.revokes_tokens() { envelope.version } else { row.tokens_from },
        ..row
    })
}

type Person<'a> = (&'a EmailAddress, &'a Username, Option<&'a PasswordHash>);

/// The identity in a registration, unless it was erased since.
fn known<'a>(
    email: &'a Erasable<EmailAddress>,
    username: &'a Erasable<Username>,
    password_hash: Option<&'a Erasable<PasswordHash>>,
) -> Option<Person<'a>> {
    Some((email.known()?, username.known()?, password_hash.and_then(Erasable::known)))
}

fn opened(
    (email, username, password_hash): Person<'_>,
    id: UserId,
    is_active: bool,
    created_at: Timestamp,
    envelope: &Envelope,
) -> UserRow {
    UserRow {
        id,
        email: email.clone(),
        username: username.clone(),
        is_active,
        created_at,
        roles: BTreeSet::new(),
        password_hash: password_hash.cloned(),
        is_email_verified: false,
        version: envelope.version,
        tokens_from: 0,
        position: envelope.position,
    }
}
