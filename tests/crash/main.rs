//! Crash tests: real services are killed, frozen, cut off from their database or run out of disk space, on
//! databases that lose their primary or the tail of a file, while clients write and record every response.
//! Afterwards every acknowledged write is in the log exactly once, no rejected write is, and every
//! indeterminate write is resolved by its `Idempotency-Key`.
//!
//! Short by default; `test_config` describes long runs and seeds. `docs/evidence/crashes.md` has the figures
//! of a long run.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod cluster;
mod consumers;
mod crash_test;
mod damaged_webhooks;
mod elections;
mod erasures;
mod log_audits;
mod seeded_rng;
// Only Linux can change the file size limit of a running process.
mod background_load;
mod cache_races;
mod client_write;
mod clients;
mod feed_observer;
#[cfg(target_os = "linux")]
mod floods;
#[cfg(target_os = "linux")]
mod full_disk;
mod history_checker;
mod imports;
mod journal;
mod log;
#[cfg(target_os = "linux")]
mod login_floods;
mod populated_database;
mod projector_failover;
mod rebuilds;
mod resend;
mod revoked_tokens;
mod service_kills;
mod session_clients;
mod session_journal;
mod slow_projection;
mod subscribers;
mod summary;
mod test_config;
#[cfg(target_os = "linux")]
mod user_namespace;
mod wal;
mod webhooks;
#[cfg(target_os = "linux")]
mod wrong_clocks;
