//! An operator's decision that a projection skips an event it cannot apply.

use super::{System, SystemEvent};
use crate::value::{Erasable, Reason};

/// The event to skip, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The projection, without a version: the decision also applies after a rebuild.
    pub projection: String,
    /// The position of the event.
    pub position: u64,
    /// The operator's reason.
    pub reason: Reason,
}

/// Decides a skip. No events: it was recorded before, and the first reason remains.
///
/// The caller checks whether the projection is halted at this event; the stream does not show it.
#[must_use]
pub fn decide_skip(system: &System, Skip { projection, position, reason }: Skip) -> Vec<SystemEvent> {
    if system.is_skipped(&projection, position) {
        return Vec::new();
    }
    vec![SystemEvent::ProjectionEventSkipped { projection, position, reason: Erasable::Known(reason) }]
}
