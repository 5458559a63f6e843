//! The embedded backend of the event store: one SQLite file in WAL mode holds the log, the key store and the
//! read models. Several processes may share the file, for example a server and the command line.
//!
//! A commit passes through these modules in this order: `backend` implements the port; `worker_pool` runs the
//! job on the thread that owns the writing connection; `managed_connection` keeps that connection usable
//! (opened by `connection` on the file that `database_file` guards); `commit` runs the transaction, with
//! `preconditions`, `events` and `head`; `watch` notifies subscribers, also of commits by other processes.
//! `rows`, `leases`, `deliveries`, `tiles` and `rotation` implement the other ports; `schema` and `migrate`
//! create the tables, and `foreign_objects` finds what other programs have created; `error` turns SQLite's
//! errors into [`store::StoreError`].
//!
//! What does not belong here: deciding what may be written. [`store::commit_planner`] does that for every
//! backend.

#![warn(missing_docs)]

mod backend;
mod checkpoints;
mod columns;
mod commit;
mod commit_marker;
mod connection;
mod database_file;
mod deliveries;
mod error;
mod events;
mod foreign_objects;
mod head;
mod idempotency;
mod job_queue;
mod key_store;
mod leases;
mod managed_connection;
mod migrate;
mod preconditions;
mod projection_versions;
mod relaxed_durability;
mod rotation;
mod rows;
mod schema;
mod session_renewals;
mod sessions;
mod sqlite_store;
#[cfg(test)]
mod tests;
mod tiles;
mod transaction;
mod watch;
mod worker_pool;

pub use sqlite_store::SqliteStore;
