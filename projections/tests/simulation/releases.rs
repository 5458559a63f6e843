//! The projections of a program: of the one before, and of the next one, in which a fold has changed.

use projections::{Projection, Users};

use crate::item_projection::{Items, ItemsV2};

/// The projections of the program before.
static OLD: [&dyn Projection; 2] = [&Users, &Items];
/// The projections of the next program.
static NEW: [&dyn Projection; 2] = [&Users, &ItemsV2];

/// The projections of that program.
pub(crate) fn projections_of(upgraded: bool) -> [&'static dyn Projection; 2] {
    if upgraded { NEW } else { OLD }
}

/// The projections that know every fold there is.
pub(crate) fn newest() -> [&'static dyn Projection; 2] {
    NEW
}
