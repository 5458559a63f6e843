//! The benchmarks, one file each.

mod append_alone;
mod append_grouped;
mod commit_to_visible;
mod export;
mod hashing;
mod proof;
mod rebuild;
mod verify;

#[cfg(test)]
pub(crate) use self::append_grouped::AppendGrouped;
use crate::benchmark::Benchmark;

/// All benchmarks, in the order in which they are measured.
pub(crate) static BENCHMARKS: [&dyn Benchmark; 8] = [
    &append_alone::AppendAlone,
    &append_grouped::AppendGrouped,
    &hashing::Hashing,
    &rebuild::Rebuild,
    &commit_to_visible::CommitToVisible,
    &verify::Verify,
    &proof::Proof,
    &export::Export,
];
