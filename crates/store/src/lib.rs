//! The event store of Aegis: an append-only log of events with gapless positions, a vault that can forget a person, a
//! Merkle tree that shows tampering, and the port to the databases that hold it all.
//!
//! In the order in which an append passes through:
//! [`append`] says what is asked; [`event_store`] is the door; `prepare` seals what is personal ([`vault`]); `writer`
//! packs what waits (`lanes`) into one transaction; [`judge`] decides it, purely, with [`canonical`], [`merkle`] and
//! [`checkpoint`] for the verifiable log; [`backend`] is the port that carries it out; [`signal`] wakes who follows, and
//! [`page`] reads on; [`tiles`] prove that it is the log that was signed; [`verify`] proves it all; [`rotation`] replaces the
//! master key; [`metrics`] counts.
//! [`rows`] is the port for read models, with [`versions`] of each and a [`rows_digest`]; [`lease`] the one that says who
//! works, [`deliveries`] the one that says how far subscribers are; [`memory`] implements all ports as the reference; `conformance` holds every backend to the promises.
//!
//! What does not belong here: what events mean (the `domain` crate), and any database by name.

pub mod ambient;
pub mod append;
pub mod backend;
pub mod canonical;
pub mod checkpoint;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod deliveries;
pub mod error;
pub mod event;
pub mod event_store;
pub mod idempotency;
pub mod judge;
mod lanes;
pub mod lease;
pub mod memory;
pub mod merkle;
pub mod metrics;
pub mod page;
mod prepare;
mod prepared;
mod read;
pub mod rotation;
pub mod rows;
pub mod rows_digest;
pub mod signal;
pub mod tiles;
pub mod vault;
pub mod verify;
pub mod versions;
mod writer;

pub use ambient::{Ambient, Clock, Entropy};
pub use append::{Append, AppendError, Appended, Claim, Expected, StreamWrite};
pub use backend::{Backend, EventQuery, Head};
pub use deliveries::{Attempt, Deliveries, Progress};
pub use error::StoreError;
pub use event::{Envelope, NewEvent, PersonalData, Position, Recorded, StreamId};
pub use event_store::EventStore;
pub use idempotency::{FirstResult, IdempotencyKey};
pub use lease::{Lease, Leases};
pub use metrics::{Metrics, Outcome, Retries, Retry};
pub use page::Page;
pub use rotation::Rotation;
pub use rows::{ApplyError, Change, Checkpoint, Column, ColumnKind, ReadModels, Row, Shape, Slice, Table};
pub use rows_digest::RowsDigest;
pub use signal::{Signal, SignalBoard};
pub use vault::{Keyring, MasterKey, MasterKeys};
pub use verify::{ClaimChange, Finding, Verified, VerifyError};
pub use versions::{Stage, Version, Versions, VersionsError};
