//! The event store under fire: real services, killed, frozen, cut off from their database, out of room, on databases
//! that lose their primary or the end of a file; and clients who write all the while and note what they are told. In the
//! end, what was acknowledged is in the log exactly once, what was refused is not, and what nobody could tell is told by
//! its `Idempotency-Key`.
//!
//! Short by default; `test_config` says how to have it long, and with which seed. `docs/evidence/crashes.md` has the figures
//! of a long run.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests: a broken promise has to panic"
)]

mod cluster;
mod consumers;
mod crash_test;
mod elections;
mod erasures;
mod log_audits;
mod seeded_rng;
// The limit on files is changed while the service runs, which only Linux can do.
mod background_load;
mod client_write;
mod clients;
mod feed_observer;
#[cfg(target_os = "linux")]
mod full_disk;
mod history_checker;
mod journal;
mod log;
mod populated_database;
mod projector_failover;
mod rebuilds;
mod resend;
mod service_kills;
mod subscribers;
mod summary;
mod test_config;
#[cfg(target_os = "linux")]
mod user_namespace;
mod wal;
mod webhooks;
