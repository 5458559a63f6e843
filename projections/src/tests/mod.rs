//! The runner, what operators do, the proof and the folds, over the reference backend. [`fixture`] is what
//! they share, [`other_versions`] are programs of before and after, [`recording_backend`] is a database that
//! is slow, or watched at work.

mod fixture;
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
