//! The event store under fire: real services, killed, frozen, cut off from their database, out of room, on databases
//! that lose their primary or the end of a file; and clients who write all the while and note what they are told. In the
//! end, what was acknowledged is in the log exactly once, what was refused is not, and what nobody could tell is told by
//! its `Idempotency-Key`.
//!
//! Short by default; `plan` says how to have it long, and with which seed. `docs/evidence/crashes.md` has the figures
//! of a long run.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests: a broken promise has to panic"
)]

mod audits;
mod chance;
mod check;
mod consumers;
mod elections;
mod erasures;
mod fleet;
// The limit on files is changed while the service runs, which only Linux can do.
#[cfg(target_os = "linux")]
mod full_disk;
mod journal;
mod kills;
mod load;
mod log;
#[cfg(target_os = "linux")]
mod namespace;
mod owners;
mod plan;
mod population;
mod rebuilds;
mod resolve;
mod subscribers;
mod summary;
mod swarm;
mod verdict;
mod wal;
mod webhooks;
mod witness;
mod write;
