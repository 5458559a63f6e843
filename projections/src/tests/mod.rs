//! The runner, what operators do, the proof and the folds, over the reference backend. [`world`] is what they share,
//! [`other_folds`] are programs of before and after, [`watched`] is a database that is slow, or watched at work.

mod leases;
mod other_folds;
mod poison;
mod rebuilds;
mod stats;
mod upgrades;
mod users;
mod verifying;
mod versions;
mod watched;
mod world;
