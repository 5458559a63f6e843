//! Derives the change of the administrators from a change of one user.

use crate::user::User;
use crate::value::UserId;

/// A user becomes an active administrator, or stops being one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdministratorChange {
    /// The user becomes an active administrator.
    Added(UserId),
    /// The user is no longer an active administrator.
    Removed(UserId),
}

/// Compares the state of a user before and after a command, whichever events changed it.
#[must_use]
pub fn administrator_change(id: UserId, before: &User, after: &User) -> Option<AdministratorChange> {
    match (before.is_active_administrator(), after.is_active_administrator()) {
        (false, true) => Some(AdministratorChange::Added(id)),
        (true, false) => Some(AdministratorChange::Removed(id)),
        (false, false) | (true, true) => None,
    }
}
