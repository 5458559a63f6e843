//! What is known of the installation as a whole.

use std::collections::BTreeSet;

use crate::value::UserId;

/// The installation as its events leave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// The users who hold the role `admin` and may sign in.
    pub administrators: BTreeSet<UserId>,
}
