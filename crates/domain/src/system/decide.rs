//! Judging whether the installation can do without an administrator.

use super::{AdministratorChange, System, SystemEvent};

/// The change would leave nobody who can administer the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the last administrator cannot be removed; make another user administrator first")]
pub struct LastAdministrator;

/// Judges a change of one user against all administrators. No events means that it is already so.
///
/// # Errors
/// [`LastAdministrator`] if nobody else is left.
pub fn decide(system: &System, change: AdministratorChange) -> Result<Vec<SystemEvent>, LastAdministrator> {
    let administrators = &system.administrators;
    match change {
        AdministratorChange::Added(user) if administrators.contains(&user) => Ok(vec![]),
        AdministratorChange::Added(user) => Ok(vec![SystemEvent::AdministratorAdded { user }]),
        AdministratorChange::Removed(user) if !administrators.contains(&user) => Ok(vec![]),
        AdministratorChange::Removed(_) if administrators.len() == 1 => Err(LastAdministrator),
        AdministratorChange::Removed(user) => Ok(vec![SystemEvent::AdministratorRemoved { user }]),
    }
}
