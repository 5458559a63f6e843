//! What has happened to the installation.

use crate::value::UserId;

/// A fact about the installation. Nothing in it is personal: an id names nobody once the user is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemEvent {
    /// A user became an active administrator.
    AdministratorAdded {
        /// Who.
        user: UserId,
    },
    /// A user is no longer an active administrator.
    AdministratorRemoved {
        /// Who.
        user: UserId,
    },
}

impl SystemEvent {
    pub(super) const ADMINISTRATOR_ADDED: &'static str = "AdministratorAdded";
    pub(super) const ADMINISTRATOR_REMOVED: &'static str = "AdministratorRemoved";

    /// The names of all events of the installation.
    pub const TYPES: &'static [&'static str] = &[Self::ADMINISTRATOR_ADDED, Self::ADMINISTRATOR_REMOVED];

    /// The name this event has in the log, one of [`TYPES`](SystemEvent::TYPES).
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::AdministratorAdded { .. } => Self::ADMINISTRATOR_ADDED,
            Self::AdministratorRemoved { .. } => Self::ADMINISTRATOR_REMOVED,
        }
    }
}
