//! An operator's decision that a projection skips an event it cannot apply.

use super::{System, SystemEvent};
use crate::value::{Erasable, Reason};

/// What to pass over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The projection, without a version: the decision outlives a rebuild.
    pub projection: String,
    /// The position of the event.
    pub position: u64,
    /// In the operator's words.
    pub reason: Reason,
}

/// Decides a skip. No events: it was recorded before, and the first reason remains.
///
/// Whether the projection does halt there is for the caller to see: the installation's past does not tell.
#[must_use]
pub fn decide_skip(system: &System, Skip { projection, position, reason }: Skip) -> Vec<SystemEvent> {
    if system.is_skipped(&projection, position) {
        return Vec::new();
    }
    vec![SystemEvent::ProjectionEventSkipped { projection, position, reason: Erasable::Known(reason) }]
}
