//! The port to the database that stores the log.
//!
//! A backend only reads and writes, inside one transaction per batch. Deciding what may be written belongs in
//! [`commit_planner`](crate::commit_planner), which is the same for every backend.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use crate::append::AppendResult;
use crate::commit_planner::Batch;
use crate::error::{StoreError, WriteError};
use crate::event::{Envelope, Position, StreamId};
use crate::head::Head;
use crate::idempotency::RecordedResult;
use crate::key_store::{ClaimBackfill, ClaimHash, ClaimReplacement, KeyEntry, StreamKeyEntry};
use crate::log_time::DatabaseClock;
use crate::metrics::RetryCounter;
use crate::progress::StoreProgress;

/// The version of the stored format that this code reads and writes.
pub const FORMAT: u32 = 1;

/// The epoch of a log that was never restored from a backup.
pub const FIRST_EPOCH: u64 = 1;

/// A database that stores the log.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Whether the database contains a log, for callers that must not create one.
    ///
    /// # Errors
    /// [`StoreError`] if the database is unreachable, or not one that this service may use.
    async fn exists(&self) -> Result<bool, StoreError>;

    /// Creates what is missing (collections or tables, indexes, `meta`, `keys`, the empty `head`) and returns
    /// the stored genesis. Idempotent. Several processes may call it at once; the genesis of one of them is
    /// stored.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the database has events but no `meta`, or an unknown format.
    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError>;

    /// The epoch of the log, in `meta`: [`FIRST_EPOCH`] until it is raised.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn epoch(&self) -> Result<u64, StoreError>;

    /// Replaces the epoch of the log, durably.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written.
    async fn set_epoch(&self, epoch: u64) -> Result<(), StoreError>;

    /// Commits a batch in one transaction (group commit): reads `head` and the other [preconditions] of the
    /// batch, calls [`Batch::plan`], and writes the [commit plan]: `head`, releases, erasures and new keys
    /// before takes, then events. Delivery cursors and attempts of erased streams are deleted in the same
    /// transaction. `head` is written even if nothing else is, so of two concurrent
    /// transactions one fails. The commit is durable, on a majority of the nodes. Publishes the progress.
    ///
    /// [preconditions]: crate::commit_planner::Preconditions
    /// [commit plan]: crate::commit_planner::CommitPlan
    ///
    /// # Errors
    /// [`CommitError`]: nothing was written, or the outcome is unknown.
    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError>;

    /// The head of the log, majority-committed.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn head(&self) -> Result<Head, StoreError>;

    /// A majority-committed head of the log, not older than anything that this process has read or written,
    /// though recent appends of other processes may be missing. Cheaper than [`Backend::head`] on a
    /// replicated database.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn recent_head(&self) -> Result<Head, StoreError> {
        self.head().await
    }

    /// How often another server has begun to answer reads, if reads other than [`Backend::head`] may return old data
    /// because a server was replaced; `None` if they never do.
    fn primary_changes(&self) -> Option<u64> {
        None
    }

    /// A number that changes with every commit to the database, by whatever process and of whatever kind, if it can be
    /// found out without waiting. What was read after the number was the same is still current.
    fn commit_marker(&self) -> Option<u64> {
        None
    }

    /// Events by ascending position, at most `query.limit`, majority-committed.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError>;

    /// The events of one stream with versions above `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError>;

    /// The events of one stream with versions below `before` if given, descending, at most `limit`,
    /// majority-committed.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn stream_backwards(
        &self,
        stream: &StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Envelope>, StoreError>;

    /// The key entries of these streams; streams without an entry are omitted.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError>;

    /// The key entries of these streams with the claims of each, majority-committed; streams without an entry
    /// are omitted.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError>;

    /// The streams that own these claims; claims without an owner are omitted. Majority-committed, from the
    /// index of claims.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn claim_owners(&self, claims: &[ClaimHash]) -> Result<HashMap<ClaimHash, StreamId>, StoreError>;

    /// Replaces the claims of streams outside a commit. A stream whose claims are not those given, or that is
    /// erased, is left alone, as is one that would get a claim which another stream holds: read the entries again
    /// to see which were replaced. Durable, on a majority of the nodes.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written; some may have been replaced.
    async fn replace_claims(&self, replacements: &[ClaimReplacement]) -> Result<(), StoreError>;

    /// How far [claims have been backfilled](crate::EventStore::backfill_claims), in `meta`; `None` if they never
    /// were.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn claim_backfill(&self) -> Result<Option<ClaimBackfill>, StoreError>;

    /// Replaces how far claims have been backfilled, durably, if it is still `from`.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if it is not.
    async fn set_claim_backfill(
        &self,
        from: Option<&ClaimBackfill>,
        to: &ClaimBackfill,
    ) -> Result<(), WriteError>;

    /// The streams that have a key entry, by ascending name, after `after` or from the first on, at most
    /// `limit`, majority-committed.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError>;

    /// The recorded result of the append with an idempotency key, majority-committed. A result older than
    /// [`RETENTION`](crate::idempotency::RETENTION) may have been deleted.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn recorded_result(&self, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError>;

    /// Watches the head of the log and the projection checkpoints, including changes by other processes.
    fn watch_progress(&self) -> watch::Receiver<StoreProgress>;

    /// The time since the last notification about commits of other processes, including notifications that
    /// there are none; `None` if there are no other processes, or watching has not begun. A watched database
    /// sends one every second.
    fn since_heartbeat(&self) -> Option<Duration> {
        None
    }

    /// The clock of the database, if it has one of its own, which stamps the events of all nodes.
    fn clock(&self) -> Option<&DatabaseClock> {
        None
    }

    /// The counter of transactions that this process retried; stays at zero if the backend never retries.
    fn retries(&self) -> RetryCounter {
        RetryCounter::default()
    }
}

/// The initial content of a new database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The version of the stored format, in `meta`.
    pub format: u32,
    /// The identity of the log, in `meta`.
    pub log_id: Uuid,
    /// The wrapped key that hashes claims, in `keys` as `claims`.
    pub claim_key: Vec<u8>,
    /// The wrapped key that signs checkpoints, in `keys` as `signing`.
    pub signing_key: Vec<u8>,
}

/// Selects events to read.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only positions after this one.
    pub after: Position,
    /// Only positions up to this one.
    pub until: Option<Position>,
    /// The maximum number of events.
    pub limit: usize,
    /// Only these types; all if empty.
    pub types: Vec<String>,
    /// Only this stream.
    pub stream: Option<StreamId>,
    /// Only this actor.
    pub actor: Option<String>,
}

impl EventQuery {
    /// Selects the event at one position.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self { after: position.previous(), until: Some(position), limit: 1, ..Self::default() }
    }

    /// Whether few types are selected, so that each can be searched in the index separately.
    #[must_use]
    pub fn has_few_types(&self) -> bool {
        /// Databases limit how many ordered index ranges they merge.
        const FEW: usize = 64;
        (1..=FEW).contains(&self.types.len())
    }

    /// Whether the matching events may be sparse in every index, so that a read needs a bounded window of
    /// positions.
    #[must_use]
    pub fn needs_scan_window(&self) -> bool {
        let by_actor_alone = self.actor.is_some() && self.types.is_empty();
        let by_types_alone = self.actor.is_none() && self.has_few_types();
        !(self.is_unfiltered() || self.stream.is_some() || by_actor_alone || by_types_alone)
    }

    /// Whether every event between `after` and `until` is selected, so that a missing one is corruption.
    #[must_use]
    pub fn is_unfiltered(&self) -> bool {
        let Self { after: _, until: _, limit: _, types, stream, actor } = self;
        types.is_empty() && stream.is_none() && actor.is_none()
    }

    /// Whether an event matches, apart from positions and limit.
    #[must_use]
    pub fn matches(&self, event: &Envelope) -> bool {
        (self.types.is_empty() || self.types.contains(&event.event_type))
            && self.stream.as_ref().is_none_or(|stream| *stream == event.stream)
            && self.actor.as_ref().is_none_or(|actor| *actor == event.actor)
    }
}

/// Why a batch was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written.
    #[error(transparent)]
    NotCommitted(#[from] StoreError),
    /// The commit was sent and not answered: it may have been written.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(StoreError),
}
