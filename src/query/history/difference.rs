//! What changed in each user between two positions of the log.

use std::collections::BTreeMap;

use domain::{User, UserId};
use serde::Serialize;

use super::change::{FieldChange, changed_fields};
use super::replayed_user::ReplayedUser;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UserChangeKind {
    Registered,
    Changed,
    Erased,
}

impl UserChangeKind {
    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Changed => "changed",
            Self::Erased => "erased",
        }
    }
}

/// A user with events between two positions of the log.
#[derive(Clone, Debug, Serialize)]
pub struct UserDifference {
    /// A UUID, or the 24 hex digits of an imported `ObjectId`.
    pub id: String,
    pub became: UserChangeKind,
    /// The number of the user's events between the positions.
    pub events: u64,
    /// The fields whose value differs at the end; empty if every change was reverted.
    pub changes: Vec<FieldChange>,
}

/// A user at the first position and at the last one so far.
#[derive(Default)]
pub(super) struct ReplayedSpan {
    pub(super) before: ReplayedUser,
    pub(super) after: ReplayedUser,
    pub(super) events: u64,
}

/// By ascending id.
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
