//! What a stretch of the log has made of users.

use std::collections::BTreeMap;

use domain::{User, UserId};
use serde::Serialize;

use super::change::{FieldChange, difference};
use super::past::Life;

/// What has become of a user between two points of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// They are new.
    Registered,
    /// They are still there.
    Changed,
    /// They are gone.
    Erased,
}

impl Became {
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
    pub became: Became,
    /// How many of their events lie between.
    pub events: u64,
    /// The fields that have another value at the end. None if all was taken back in between.
    pub changes: Vec<FieldChange>,
}

/// A user at the first point and at the last so far.
#[derive(Default)]
pub(super) struct Span {
    pub(super) before: Life,
    pub(super) after: Life,
    pub(super) events: u64,
}

/// The differences, by id.
pub(super) fn differences(spans: BTreeMap<UserId, Span>) -> Vec<UserDifference> {
    let told = |(id, Span { before, after, events }): (UserId, Span)| {
        let became = match (&before.user, &after.user) {
            (_, User::Erased) => Became::Erased,
            (User::Absent, _) => Became::Registered,
            _ => Became::Changed,
        };
        UserDifference { id: id.to_string(), became, events, changes: difference(&before.user, &after.user) }
    };
    spans.into_iter().map(told).collect()
}
