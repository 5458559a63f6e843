//! The events of the stream `system`.

use crate::value::{Erasable, Reason, UserId};

/// An event of the whole deployment. A user id is not personal: it identifies no person once the user is
/// erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemEvent {
    /// A user became an active administrator.
    AdministratorAdded {
        /// The user.
        user: UserId,
    },
    /// A user is no longer an active administrator.
    AdministratorRemoved {
        /// The user.
        user: UserId,
    },
    /// A projection skips an event that it cannot apply.
    ProjectionEventSkipped {
        /// The projection, without a version.
        projection: String,
        /// The position of the event.
        position: u64,
        /// The operator's reason, which may contain personal data.
        reason: Erasable<Reason>,
    },
    /// The password hashes of all users are exported. Appended before the first one is read.
    PasswordHashesExported,
}

impl SystemEvent {
    pub(super) const ADMINISTRATOR_ADDED: &'static str = "AdministratorAdded";
    pub(super) const ADMINISTRATOR_REMOVED: &'static str = "AdministratorRemoved";

    pub(crate) const PROJECTION_EVENT_SKIPPED: &'static str = "ProjectionEventSkipped";
    pub(super) const PASSWORD_HASHES_EXPORTED: &'static str = "PasswordHashesExported";

    /// All event types of the stream `system`.
    pub const TYPES: &'static [&'static str] = &[
        Self::ADMINISTRATOR_ADDED,
        Self::ADMINISTRATOR_REMOVED,
        Self::PROJECTION_EVENT_SKIPPED,
        Self::PASSWORD_HASHES_EXPORTED,
    ];

    /// The stored event type, one of [`TYPES`](SystemEvent::TYPES).
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::AdministratorAdded { .. } => Self::ADMINISTRATOR_ADDED,
            Self::AdministratorRemoved { .. } => Self::ADMINISTRATOR_REMOVED,
            Self::ProjectionEventSkipped { .. } => Self::PROJECTION_EVENT_SKIPPED,
            Self::PasswordHashesExported => Self::PASSWORD_HASHES_EXPORTED,
        }
    }
}
