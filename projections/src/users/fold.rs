//! The fold of `users`: pure, total, one arm per event.

use std::collections::BTreeSet;

use domain::{Personal, UserEvent, UserId};
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
            match (email, username, password_hash) {
                (Personal::Known(email), Personal::Known(username), Personal::Known(password_hash)) => {
                    Some(UserRow {
                        id,
                        email: email.clone(),
                        username: username.clone(),
                        is_active: true,
                        created_at: envelope.at,
                        roles: BTreeSet::new(),
                        password_hash: password_hash.clone(),
                        version: envelope.version,
                        tokens_from: 0,
                        position: envelope.position,
                    })
                }
                _ => None,
            }
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
    };
    row.map(|row| UserRow {
        version: envelope.version,
        position: envelope.position,
        tokens_from: if event.revokes_tokens() { envelope.version } else { row.tokens_from },
        ..row
    })
}
