//! The MongoDB backend of the event store and of the read models. It needs a replica set, and uses
//! transactions with snapshot reads and journalled majority writes.
//!
//! - `backend` implements the port of the log. `connection` configures the driver, `migrate` creates the
//!   collections, after `foreign_objects` has looked for what other programs have created.
//! - `commit` runs a batch in the retry loop of `transaction`, on the state that `preconditions` reads;
//!   `abandoned_transactions` ends what crashed processes leave open.
//! - `find` reads outside transactions. `causal_token` gives all reads of a process causal consistency
//!   (read-your-writes, monotonic reads). `log`, `tiles` and `key_store` read the log, its Merkle tree and
//!   its keys.
//! - `rows`, `table_setup`, `table_reset` and `versions` store read models; `leases`, `deliveries` and
//!   `rotation` implement the other ports; `watch` follows the change stream and notifies subscribers.
//! - `legacy_users` reads the users of the service that Aegis replaces.
//! - `event_document` and `row_document` are the only modules that know how events and rows look in BSON;
//!   `error` is the only one that interprets the driver's errors.
//!
//! What does not belong here: deciding what may be written. [`store::commit_planner`] does that for every
//! backend.

#![warn(missing_docs)]

mod abandoned_transactions;
mod backend;
mod causal_token;
mod commit;
mod connection;
mod connection_string;
mod deliveries;
mod detached;
mod document_reader;
mod error;
mod event_document;
mod find;
mod foreign_objects;
mod idempotency;
mod key_store;
mod leases;
mod legacy_users;
mod log;
mod migrate;
mod mongo_store;
mod preconditions;
mod primaries;
mod rotation;
mod row_document;
mod rows;
mod sessions;
mod table_reset;
mod table_setup;
mod tiles;
mod transaction;
mod versions;
mod watch;

pub use legacy_users::{LegacyDocument, LegacyUsers};
pub use mongo_store::MongoStore;
