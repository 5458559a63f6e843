//! What has happened to the installation.

use crate::value::{Erasable, Reason, UserId};

/// An event of the installation. A user id is not personal: it identifies no person once the user is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A projection skips an event that it cannot apply.
    ProjectionEventSkipped {
        /// The projection, without a version.
        projection: String,
        /// The position of the event.
        position: u64,
        /// Why, in the operator's words, which may say anything about a person.
        reason: Erasable<Reason>,
    },
}

impl SystemEvent {
    pub(super) const ADMINISTRATOR_ADDED: &'static str = "AdministratorAdded";
    pub(super) const ADMINISTRATOR_REMOVED: &'static str = "AdministratorRemoved";

    pub(super) const PROJECTION_EVENT_SKIPPED: &'static str = "ProjectionEventSkipped";

    /// The names of all events of the installation.
    pub const TYPES: &'static [&'static str] =
        &[Self::ADMINISTRATOR_ADDED, Self::ADMINISTRATOR_REMOVED, Self::PROJECTION_EVENT_SKIPPED];

    /// The name this event has in the log, one of [`TYPES`](SystemEvent::TYPES).
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::AdministratorAdded { .. } => Self::ADMINISTRATOR_ADDED,
            Self::AdministratorRemoved { .. } => Self::ADMINISTRATOR_REMOVED,
            Self::ProjectionEventSkipped { .. } => Self::PROJECTION_EVENT_SKIPPED,
        }
    }
}
