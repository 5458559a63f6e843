//! The state of the stream `system`.

use std::collections::{BTreeMap, BTreeSet};

use crate::value::UserId;

/// The folded events of the stream `system`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// The users who hold the role `admin` and may sign in.
    pub administrators: BTreeSet<UserId>,
    /// The positions that each projection skips, by its name without a version.
    pub skipped: BTreeMap<String, BTreeSet<u64>>,
}

impl System {
    /// Whether the projection skips the event at that position.
    #[must_use]
    pub fn is_skipped(&self, projection: &str, position: u64) -> bool {
        self.skipped.get(projection).is_some_and(|positions| positions.contains(&position))
    }
}
