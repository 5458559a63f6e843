//! The port to a database that holds the log. A backend does I/O inside one transaction and nothing else: what may be
//! written is decided by [`Batch::plan`], the same for every backend.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use crate::append::AppendResult;
use crate::commit_planner::Batch;
use crate::error::StoreError;
use crate::event::{Envelope, Position, StreamId};
use crate::head::Head;
use crate::idempotency::RecordedResult;
use crate::key_store::{ClaimHash, KeyEntry, StreamKeyEntry};
use crate::metrics::RetryCounter;
use crate::progress::StoreProgress;

/// The version of the stored format that this code reads and writes.
pub const FORMAT: u32 = 1;

/// A database that holds the log.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Whether the database holds a log, so that who only wants to look does not make one.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be reached, or is not one that this service may use.
    async fn exists(&self) -> Result<bool, StoreError>;

    /// Creates what is missing (collections or tables, indexes, `meta`, `keys`, the empty `head`) and says what is
    /// stored afterwards. Idempotent; safe to run from several processes at once, of which one genesis wins whole.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the database has events but no `meta`, or a format this code does not know.
    async fn migrate(&self, genesis: &Genesis) -> Result<Genesis, StoreError>;

    /// Runs a batch in one transaction: reads `head` and the other [`Preconditions`] that the batch asks for, lets
    /// [`Batch::plan`] decide, and writes the [`CommitPlan`]: `head`, releases, erasures and new keys before takes, then
    /// events. `head` is written even if nothing else is, so that of two such transactions one fails. Commits with
    /// majority, durably; publishes the progress.
    ///
    /// # Errors
    /// [`CommitError`]: whether nothing was written, or nobody can tell.
    async fn commit(&self, batch: Arc<Batch>) -> Result<Vec<AppendResult>, CommitError>;

    /// The head of the log, as a majority knows it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn head(&self) -> Result<Head, StoreError>;

    /// A head of the log that a majority knows, no older than anything that this process has read or written: what others
    /// have appended may be missing in it for a moment. Cheaper than [`Backend::head`] where that has to ask around.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn recent_head(&self) -> Result<Head, StoreError> {
        self.head().await
    }

    /// Events by ascending position, at most `query.limit`, as a majority knows them.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn events(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError>;

    /// The events of one stream with versions above `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Envelope>, StoreError>;

    /// What the vault holds of these streams; a stream without an entry is left out.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn key_entries(&self, streams: &[StreamId]) -> Result<HashMap<StreamId, KeyEntry>, StoreError>;

    /// What the vault holds of these streams, with their claims, as a majority knows it; a stream without an entry is left
    /// out.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn key_entries_with_claims(&self, streams: &[StreamId]) -> Result<Vec<StreamKeyEntry>, StoreError>;

    /// The streams that the vault has an entry of, by ascending name, above one of them or from the first on, at most
    /// `limit`, as a majority knows them.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn key_entry_streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError>;

    /// What the first append under an idempotency key has come to, as a majority knows it. What is older than
    /// [`RETENTION`](crate::idempotency::RETENTION) may be gone, or not yet.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn recorded_result(&self, key: ClaimHash) -> Result<Option<RecordedResult>, StoreError>;

    /// Follows the log's head and the projections' checkpoints, also those that other processes move.
    fn watch_progress(&self) -> watch::Receiver<StoreProgress>;

    /// For how long nothing was heard of the commits of other processes, not even that there are none; `None` where
    /// there are no others, or nobody listens yet. A backend that follows a database hears from it every second.
    fn since_heartbeat(&self) -> Option<Duration> {
        None
    }

    /// Where transactions of this process that are tried again are counted; nothing comes there where that never happens.
    fn retries(&self) -> RetryCounter {
        RetryCounter::default()
    }
}

/// What a new database starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The version of the stored format, in `meta`.
    pub format: u32,
    /// The log's identity, in `meta`.
    pub log_id: Uuid,
    /// The wrapped key of all claims, in `keys` as `claims`.
    pub claim_key: Vec<u8>,
    /// The wrapped key that signs checkpoints, in `keys` as `signing`.
    pub signing_key: Vec<u8>,
}

/// Which events to read.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only positions above this one.
    pub after: Position,
    /// Only positions up to this one.
    pub until: Option<Position>,
    /// At most so many events.
    pub limit: usize,
    /// Only these types; empty: all.
    pub types: Vec<String>,
    /// Only this stream.
    pub stream: Option<StreamId>,
    /// Only this actor.
    pub actor: Option<String>,
}

impl EventQuery {
    /// The one event at that position.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self { after: position.previous(), until: Some(position), limit: 1, ..Self::default() }
    }

    /// Whether only a few types are asked for, so that each can be looked for by itself.
    #[must_use]
    pub fn has_few_types(&self) -> bool {
        /// What databases merge in order from an index is limited.
        const FEW: usize = 64;
        (1..=FEW).contains(&self.types.len())
    }

    /// Whether what is asked for lies scattered in what an index finds in order, so that it may take long to find any.
    #[must_use]
    pub fn needs_scan_window(&self) -> bool {
        let by_actor_alone = self.actor.is_some() && self.types.is_empty();
        let by_types_alone = self.actor.is_none() && self.has_few_types();
        !(self.is_unfiltered() || self.stream.is_some() || by_actor_alone || by_types_alone)
    }

    /// Whether every event between `after` and `until` is asked for, so that a missing one is an alarm.
    #[must_use]
    pub fn is_unfiltered(&self) -> bool {
        let Self { after: _, until: _, limit: _, types, stream, actor } = self;
        types.is_empty() && stream.is_none() && actor.is_none()
    }

    /// Whether an event is asked for, positions and limit apart.
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
    /// The commit was sent and never answered.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(StoreError),
}
