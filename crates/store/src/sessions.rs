//! The port to sessions: what a user's refresh tokens renew. There are many of them, they change often and expire,
//! so they are stored beside the log; what ends one before its time is an event, in whose commit it is deleted.
//! [`Sessions`](crate::Sessions) seals and authenticates what is stored here.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{StoreError, WriteError};
use crate::event::StreamId;

/// How many sessions are kept of each stream; those that were renewed longest ago are deleted first.
pub const MAX_SESSIONS: usize = 100;

/// A session as a database stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    /// The id.
    pub id: Uuid,
    /// The stream of the user.
    pub stream: StreamId,
    /// What was decided when it was opened, opaque here. Replaced only by a commit that keeps the session.
    pub grant: Value,
    /// The number of renewals, by which compare-and-set detects a conflict.
    pub generation: u64,
    /// What each renewal replaces, opaque here.
    pub rotation: Value,
    /// When it was last renewed, for [`MAX_SESSIONS`]; stored as [`renewal_time`] says.
    pub renewed_at: Timestamp,
    /// When it may be purged.
    pub expires_at: Timestamp,
}

/// A renewal of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRenewal {
    /// The session.
    pub id: Uuid,
    /// Its stream.
    pub stream: StreamId,
    /// The generation that must be stored.
    pub from: u64,
    /// The generation after it.
    pub to: u64,
    /// As in [`SessionRecord`].
    pub rotation: Value,
    /// As in [`SessionRecord`].
    pub renewed_at: Timestamp,
    /// As in [`SessionRecord`].
    pub expires_at: Timestamp,
}

/// The sessions of a stream that end with a commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum EndSessions {
    /// None.
    #[default]
    None,
    /// This one, if there is one.
    One(Uuid),
    /// All.
    All,
    /// All but this one.
    AllBut(KeptSession),
}

/// A session that a commit keeps, and its grant from then on. What has been renewed meanwhile stays.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptSession {
    /// The session.
    pub id: Uuid,
    /// The new grant.
    pub grant: Value,
}

/// A database that stores sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Adds a session.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the stream was erased, or has no data key.
    async fn open_session(&self, record: &SessionRecord) -> Result<(), WriteError>;

    /// A session, majority-committed; `None` if it does not exist or has ended.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    async fn session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError>;

    /// The sessions of a stream, by ascending id, majority-committed.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    async fn sessions_of(&self, stream: &StreamId) -> Result<Vec<SessionRecord>, StoreError>;

    /// Renews a session by compare-and-set. Never creates one.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if another generation is stored, or the session has ended.
    async fn renew_session(&self, renewal: &SessionRenewal) -> Result<(), WriteError>;

    /// Deletes sessions that expired before that time, at most `limit`; returns how many.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be deleted, or only partly; retry.
    async fn purge_sessions(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// The time that is stored for a session which is opened or renewed: after those of all other sessions of its stream,
/// so that the order of renewals is kept even if the clock of one node, or of the machine since, is behind.
#[must_use]
pub fn renewal_time(clock: Timestamp, others: impl IntoIterator<Item = Timestamp>) -> Timestamp {
    let next = |latest: Timestamp| latest.checked_add(SignedDuration::from_millis(1)).unwrap_or(latest);
    others.into_iter().max().map_or(clock, |latest| next(latest).max(clock))
}

/// Of the sessions of a stream, with the time of their last renewal, those beyond [`MAX_SESSIONS`].
#[must_use]
pub fn superfluous_sessions(mut sessions: Vec<(Timestamp, Uuid)>) -> Vec<Uuid> {
    sessions.sort_unstable();
    let superfluous = sessions.len().saturating_sub(MAX_SESSIONS);
    sessions.into_iter().take(superfluous).map(|(_, id)| id).collect()
}
