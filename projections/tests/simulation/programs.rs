//! The projections of a program: of the one before, and of the next one, in which a fold has changed.

use projections::{Projection, Users};

use crate::things::{NewThings, Things};

/// The projections of the program before.
static OLD: [&dyn Projection; 2] = [&Users, &Things];
/// The projections of the next program.
static NEW: [&dyn Projection; 2] = [&Users, &NewThings];

/// The projections of that program.
pub(crate) fn of(is_new: bool) -> [&'static dyn Projection; 2] {
    if is_new { NEW } else { OLD }
}

/// The projections that know every fold there is.
pub(crate) fn newest() -> [&'static dyn Projection; 2] {
    NEW
}
