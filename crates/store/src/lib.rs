//! The event store of Aegis: an append-only log with gapless positions, crypto-shredding of personal data,
//! and a Merkle tree that makes tampering evident.
//!
//! The modules, in the order in which an append passes through them:
//!
//! - [`append`]: the request, with expected versions (optimistic concurrency) and unique claims, and its
//!   result.
//! - [`event_store`]: the API for appends and reads.
//! - `encryptor`: envelope encryption of personal data with the keys of [`key_store`].
//! - `writer` and `fair_queue`: group commit.
//! - [`commit_planner`]: decides which appends of a batch are accepted, with [`canonical`], [`merkle`] and
//!   [`checkpoint`] for the Merkle tree and its signed head, and [`idempotency`] for repeated requests.
//! - [`log_time`]: whose clock stamps the events.
//! - [`backend`]: the port to the database that stores the log.
//! - [`progress`]: notifies readers of the new head, and knows the projection [`lag`]; [`page`] reads on from
//!   there.
//!
//! Beside that path: [`tiles`] and [`verify`] prove and check the log, [`rotation`] replaces the master key,
//! [`claim_backfill`] gives older streams new kinds of claims, [`StreamCache`] keeps in memory what follows from a stream,
//! and [`metrics`] counts. Read models are stored through the port in [`rows`], with [`versions`] and a [`rows_digest`], and authenticated by `row_authentication`, as delivery cursors are by
//! `delivery_authentication`; [`lease`] is the port under [`leader_election`], and [`deliveries`] that of
//! webhook cursors. [`memory`] implements every port as the reference, and `conformance` tests every backend.
//!
//! What does not belong here: the meaning of events (the `domain` crate), and concrete databases
//! (`store-mongo`, `store-sqlite`).

#![warn(missing_docs)]

pub mod append;
pub mod backend;
#[cfg(any(test, feature = "conformance"))]
pub mod backend_decorator;
mod caches;
mod cancellation;
pub mod canonical;
pub mod checkpoint;
pub mod claim_backfill;
pub mod commit_planner;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod deliveries;
mod delivery_authentication;
mod encryptor;
pub mod env;
pub mod error;
pub mod event;
pub mod event_store;
mod fair_queue;
pub mod head;
mod head_confirmation;
pub mod idempotency;
pub mod key_store;
pub mod lag;
pub mod leader_election;
pub mod lease;
mod lock;
pub mod log_time;
mod mac;
pub mod memory;
pub mod merkle;
pub mod metrics;
pub mod page;
mod prepared;
pub mod progress;
mod read;
pub mod rotation;
mod row_authentication;
pub mod rows;
pub mod rows_digest;
mod session_tokens;
pub mod sessions;
mod stream_cache;
pub mod tiles;
pub mod verify;
pub mod versions;
mod writer;

pub use append::{Append, AppendError, Appended, Claim, ExpectedVersion, Guard, StreamWrite};
pub use backend::{Backend, EventQuery, FIRST_EPOCH};
pub use claim_backfill::ClaimCollision;
pub use deliveries::{Attempt, DeliveryProgress, DeliveryRecord, DeliveryStore};
pub use delivery_authentication::AcceptsUnsigned;
pub use env::{Clock, Entropy, Env};
pub use error::{Corruption, InternalError, KeyOwner, MissingKey, RefusalReason, StoreError, WriteError};
pub use event::{Envelope, NewEvent, PersonalData, Position, StoredEvent, StreamId};
pub use event_store::{EventStore, KeyState, LogIdentity};
pub use head::Head;
pub use head_confirmation::HeadConfirmation;
pub use idempotency::{IdempotencyKey, RecordedResult};
pub use key_store::{Keyring, MasterKey, MasterKeys};
pub use lag::ProjectionLag;
pub use leader_election::{LeaderElection, LeaderReport, LeadershipEnd, LeadershipStatus};
pub use lease::{Lease, LeaseStore};
pub use log_time::{ClockJump, CommitTime, DatabaseClock, LogClock};
pub use metrics::{AppendOutcome, Metrics, RetryCounter, RetryReason, TamperingCounter};
pub use page::Page;
pub use progress::{ProgressTracker, StoreProgress};
pub use rotation::Rotation;
pub use row_authentication::{MAC, without_mac};
pub use rows::{
    Column, ColumnKind, PrefixQuery, ProjectionCheckpoint, ReadModelStore, Row, RowChange, RowPage, Table,
    TableSchema, TableWrite,
};
pub use rows_digest::RowsDigest;
pub use session_tokens::{NewSession, Session, Sessions};
pub use sessions::{EndSessions, SessionStore};
pub use stream_cache::StreamCache;
pub use verify::{ClaimChange, Finding, FindingKind, Verified, VerifyError};
pub use versions::{ProjectionVersion, ProjectionVersions, VersionError, VersionStage};
