//! What a stretch of the log has made of users.

use std::collections::BTreeMap;

use domain::{User, UserId};
use serde::Serialize;

use super::change::{FieldChange, changed_fields};
use super::replayed_user::ReplayedUser;

/// What has become of a user between two points of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UserChangeKind {
    /// They are new.
    Registered,
    /// They are still there.
    Changed,
    /// They are gone.
    Erased,
}

impl UserChangeKind {
    /// The name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Changed => "changed",
            Self::Erased => "erased",
        }
    }
}

/// A user to whom something has happened between two points of the log.
#[derive(Clone, Debug, Serialize)]
pub struct UserDifference {
    /// A UUID, or the 24 hex digits of an imported `ObjectId`.
    pub id: String,
    /// What has become of them.
    pub became: UserChangeKind,
    /// How many of their events lie between.
    pub events: u64,
    /// The fields that have another value at the end. None if all was taken back in between.
    pub changes: Vec<FieldChange>,
}

/// A user at the first point and at the last so far.
#[derive(Default)]
pub(super) struct ReplayedSpan {
    pub(super) before: ReplayedUser,
    pub(super) after: ReplayedUser,
    pub(super) events: u64,
}

/// The user_differences, by id.
pub(super) fn user_differences(spans: BTreeMap<UserId, ReplayedSpan>) -> Vec<UserDifference> {
    let difference = |(id, ReplayedSpan { before, after, events }): (UserId, ReplayedSpan)| {
        let became = match (&before.state, &after.state) {
            (_, User::Erased) => UserChangeKind::Erased,
            (User::Absent, _) => UserChangeKind::Registered,
            _ => UserChangeKind::Changed,
        };
        UserDifference {
            id: id.to_string(),
            became,
            events,
            changes: changed_fields(&before.state, &after.state),
        }
    };
    spans.into_iter().map(difference).collect()
}
