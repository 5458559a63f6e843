//! What a change of one user means for the installation.

use crate::user::User;
use crate::value::UserId;

/// A user becomes able to act as an administrator, or no longer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdministratorChange {
    /// The user is an active administrator from here on.
    Added(UserId),
    /// The user was an active administrator until here.
    Removed(UserId),
}

/// Compares a user before and after some events: granting, revoking, deactivating and whatever else comes to
/// matter are all seen by what they lead to.
#[must_use]
pub fn administrator_change(id: UserId, before: &User, after: &User) -> Option<AdministratorChange> {
    match (before.is_active_administrator(), after.is_active_administrator()) {
        (false, true) => Some(AdministratorChange::Added(id)),
        (true, false) => Some(AdministratorChange::Removed(id)),
        (false, false) | (true, true) => None,
    }
}
