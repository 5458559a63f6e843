//! Runner, version lifecycle, verification and folds, over the reference backend. [`fixture`] is shared,
//! [`other_versions`] are projections of other releases, [`recording_backend`] is a slow or disconnected
//! database that records writes.

mod fixture;
mod lanes;
mod leases;
mod other_versions;
mod poison;
mod rebuilds;
mod recording_backend;
mod stats;
mod upgrades;
mod users;
mod verifying;
mod versions;
