//! Decides whether an administrator may be removed.

use super::{AdministratorChange, System, SystemEvent};

/// The change would leave no active administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the last administrator cannot be removed; make another user administrator first")]
pub struct LastAdministrator;

/// Decides a change of one user against all administrators. No events: nothing would change.
///
/// # Errors
/// [`LastAdministrator`] if it is the last one.
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
