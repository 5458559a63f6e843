//! The projections of two releases, the later one with a changed projection.

use projections::{Projection, Users};

use crate::item_projection::{Items, ItemsV2};

/// The projections of the previous release.
static OLD: [&dyn Projection; 2] = [&Users, &Items];
/// The projections of the next release.
static NEW: [&dyn Projection; 2] = [&Users, &ItemsV2];

/// The projections of a release.
pub(crate) fn projections_of(upgraded: bool) -> [&'static dyn Projection; 2] {
    if upgraded { NEW } else { OLD }
}

/// The projections that support every version.
pub(crate) fn newest() -> [&'static dyn Projection; 2] {
    NEW
}
