//! Folds the events of the stream `system` into its state.

use super::{System, SystemEvent};

/// Applies one event. Total: an event is never rejected.
#[must_use]
pub fn evolve(mut system: System, event: &SystemEvent) -> System {
    match event {
        SystemEvent::AdministratorAdded { user } => {
            system.administrators.insert(*user);
        }
        SystemEvent::AdministratorRemoved { user } => {
            system.administrators.remove(user);
        }
        SystemEvent::ProjectionEventSkipped { projection, position, reason: _ } => {
            system.skipped.entry(projection.clone()).or_default().insert(*position);
        }
        // A record for auditors.
        SystemEvent::PasswordHashesExported => {}
    }
    system
}

/// Folds the whole stream `system`.
#[must_use]
pub fn fold<'a>(events: impl IntoIterator<Item = &'a SystemEvent>) -> System {
    events.into_iter().fold(System::default(), evolve)
}
