//! The event store of Aegis: an append-only log of events with gapless positions, a vault that can forget a person, a
//! Merkle tree that shows tampering, and the port to the databases that hold it all.
//!
//! In the order in which an append passes through:
//! [`append`] says what is asked; [`event_store`] is the door; `encryptor` seals what is personal ([`key_store`]); `writer`
//! packs what waits (`fair_queue`) into one transaction; [`commit_planner`] decides it, purely, with [`canonical`], [`merkle`] and
//! [`checkpoint`] for the verifiable log; [`backend`] is the port that carries it out; [`progress`] wakes who follows, and
//! [`page`] reads on; [`tiles`] prove that it is the log that was signed; [`verify`] proves it all; [`rotation`] replaces the
//! master key; [`metrics`] counts.
//! [`rows`] is the port for read models, with [`versions`] of each and a [`rows_digest`]; [`lease`] the one that says who
//! works, [`deliveries`] the one that says how far subscribers are; [`memory`] implements all ports as the reference; `conformance` holds every backend to the promises.
//!
//! What does not belong here: what events mean (the `domain` crate), and any database by name.

#![warn(missing_docs)]

pub mod append;
pub mod backend;
pub mod canonical;
pub mod checkpoint;
pub mod commit_planner;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod deliveries;
mod encryptor;
pub mod env;
pub mod error;
pub mod event;
pub mod event_store;
mod fair_queue;
pub mod head;
pub mod idempotency;
pub mod key_store;
pub mod leader_election;
pub mod lease;
pub mod memory;
pub mod merkle;
pub mod metrics;
pub mod page;
mod prepared;
pub mod progress;
mod read;
pub mod rotation;
pub mod rows;
pub mod rows_digest;
pub mod tiles;
pub mod verify;
pub mod versions;
mod writer;

pub use append::{Append, AppendError, Appended, Claim, ExpectedVersion, StreamWrite};
pub use backend::{Backend, EventQuery};
pub use deliveries::{Attempt, DeliveryProgress, DeliveryStore};
pub use env::{Clock, Entropy, Env};
pub use error::{Corruption, InternalError, KeyOwner, MissingKey, RefusalReason, StoreError, WriteError};
pub use event::{Envelope, NewEvent, PersonalData, Position, StoredEvent, StreamId};
pub use event_store::EventStore;
pub use head::Head;
pub use idempotency::{IdempotencyKey, RecordedResult};
pub use key_store::{Keyring, MasterKey, MasterKeys};
pub use leader_election::{LeaderElection, LeaderReport, LeadershipEnd, LeadershipStatus};
pub use lease::{Lease, LeaseStore};
pub use metrics::{AppendOutcome, Metrics, RetryCounter, RetryReason};
pub use page::Page;
pub use progress::{ProgressTracker, StoreProgress};
pub use rotation::Rotation;
pub use rows::{
    Column, ColumnKind, ProjectionCheckpoint, ReadModelStore, Row, RowChange, RowPage, Table, TableSchema,
};
pub use rows_digest::RowsDigest;
pub use verify::{ClaimChange, Finding, FindingKind, Verified, VerifyError};
pub use versions::{ProjectionVersion, ProjectionVersions, VersionError, VersionStage};
