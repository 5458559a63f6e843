//! The API of the event store: append events, read them, watch the progress.
//!
//! Encryption, unique claims and group commit are internal; the database is behind [`Backend`].

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::append::{Append, AppendError, Appended, Claim, ExpectedVersion};
use crate::backend::{Backend, EventQuery, FORMAT, Genesis};
use crate::caches::{Caches, ForgetStream};
use crate::checkpoint::Signer;
use crate::deliveries::DeliveryStore;
use crate::delivery_authentication::{AcceptsUnsigned, AuthenticatedDeliveries};
use crate::encryptor::Encryptor;
use crate::env::Env;
use crate::error::{Corruption, InternalError, StoreError};
use crate::event::{Envelope, Position, StoredEvent, StreamId};
use crate::head::Head;
use crate::head_confirmation::{HeadConfirmation, LatestConfirmation};
use crate::idempotency::{IdempotencyKey, RecordedResult};
use crate::key_store::{ClaimHash, ClaimKey, KeyEntry, Keyring, MasterKey, MasterKeys};
use crate::log_time::LogClock;
use crate::metrics::Metrics;
use crate::progress::StoreProgress;
use crate::read::{check_contiguous, unseal};
use crate::rotation::{CLAIMS, SIGNING, check_masters, owner, service_key};
use crate::row_authentication::{AuthenticatedRows, RowKey};
use crate::rows::ReadModelStore;
use crate::writer::Writer;

/// How often an append is encrypted: again if another process gives the stream a data key, or rotates the
/// master key, between encryption and commit.
const MAX_ENCRYPT_ATTEMPTS: usize = 3;

/// Which log it is, for readers that keep a position of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// Generated when the database is created.
    pub id: Uuid,
    /// Raised when the log is restored from a backup: the same positions may then hold other events.
    pub epoch: u64,
}

/// Whether a stream has a data key: each with personal data gets one with its first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// The stream has no personal data, or does not exist.
    Absent,
    /// The stream has a data key.
    Present,
    /// The data key was destroyed (crypto-shredding).
    Erased,
}

/// The event store. Cheap to clone.
#[derive(Clone)]
pub struct EventStore {
    backend: Arc<dyn Backend>,
    encryptor: Arc<Encryptor>,
    writer: Writer,
    identity: LogIdentity,
    signer: Arc<Signer>,
    confirmation: Arc<LatestConfirmation>,
    caches: Arc<Caches>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl EventStore {
    /// Opens the log; creates it if the database is empty.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if this version may not use the database; [`StoreError::KeyMissing`] if
    /// `masters` lacks a master key that the database requires; nothing is changed then.
    /// [`StoreError::Unavailable`] if the database is unreachable.
    pub async fn open(
        backend: Arc<dyn Backend>,
        masters: impl Into<Keyring>,
        env: Env,
    ) -> Result<Self, StoreError> {
        let masters = masters.into();
        let stored = backend.migrate(&genesis(&masters.keys(), &env)?).await?;
        let wrapped = [(CLAIMS, &stored.claim_key), (SIGNING, &stored.signing_key)];
        let used = wrapped.iter().filter_map(|(_, wrapped)| MasterKey::id_of(wrapped));
        let keys = masters.load_missing(used).await;
        check_masters(&keys, &wrapped)?;
        let claims = service_key(&keys, CLAIMS, &stored.claim_key)?;
        let signing = service_key(&keys, SIGNING, &stored.signing_key)?;
        let wrapping = MasterKey::id_of(&stored.signing_key).unwrap_or_else(|| keys.current());
        let signer = Signer::new(stored.log_id, &signing)
            .map_err(|error| Corruption::invalid("the service key `signing`", error))?;
        let signer = Arc::new(signer);
        let identity = LogIdentity { id: stored.log_id, epoch: backend.epoch().await? };
        let (writer, task) = Writer::start(Arc::clone(&backend), Arc::clone(&signer), env.clone());
        Ok(Self {
            backend,
            encryptor: Arc::new(Encryptor::new(masters, wrapping, ClaimKey::new(&claims), env)),
            writer,
            identity,
            signer,
            confirmation: Arc::default(),
            caches: Arc::default(),
            task: Arc::new(Mutex::new(Some(task))),
        })
    }

    /// The identity of the log, generated when the database is created.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.identity.id
    }

    /// The identity of the log, and how often it was restored, as it was when this process opened it.
    #[must_use]
    pub fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// Raises the epoch: the log was restored from a backup. The new one is not below the time in seconds
    /// since 1970, so that two restores of the same backup do not get the same. Processes that have opened
    /// the log before keep the old one.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written.
    pub async fn raise_epoch(&self) -> Result<u64, StoreError> {
        let now = u64::try_from(self.encryptor.env.now().as_second()).unwrap_or_default();
        let epoch = self.backend.epoch().await?.saturating_add(1).max(now);
        self.backend.set_epoch(epoch).await?;
        Ok(epoch)
    }

    /// The signer of checkpoints.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Appends events to one or more streams, atomically, each at its expected version (optimistic
    /// concurrency). Durable when it returns. Cancelling the future does not cancel the append.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use serde_json::{Map, json};
    /// use store::memory::Memory;
    /// use store::{Append, AppendError, Claim, Env, EventStore, ExpectedVersion, MasterKey, NewEvent};
    /// use store::{StreamId, StreamWrite};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = Env::system();
    /// let backend = Arc::new(Memory::default());
    /// let store = EventStore::open(backend, MasterKey::generate(&env), env.clone()).await?;
    ///
    /// let stream = StreamId::new(format!("user-{}", env.uuid()))?;
    /// let registered = NewEvent {
    ///     id: env.uuid(),
    ///     event_type: "UserRegistered".to_owned(),
    ///     schema: 1,
    ///     data: Map::from_iter([("role".to_owned(), json!("user"))]),
    ///     // Encrypted with the data key of the stream.
    ///     personal: Map::from_iter([("email".to_owned(), json!("ada@example.com"))]),
    /// };
    /// let write = StreamWrite {
    ///     // Unique: no other stream can take it, in this append or later.
    ///     take: vec![Claim { kind: "email", value: "ada@example.com".to_owned() }],
    ///     ..StreamWrite::new(stream.clone(), ExpectedVersion::NoStream, vec![registered])
    /// };
    /// let append = Append::new("system", "request-1", vec![write]);
    ///
    /// let appended = store.append(&append).await?;
    /// assert_eq!((appended.position.get(), appended.versions), (1, vec![1]));
    /// assert_eq!(store.read_stream(&stream).await?.len(), 1);
    ///
    /// // The stream now exists: read it, decide again, and append at the version that was read.
    /// let conflict = store.append(&append).await;
    /// assert!(matches!(conflict, Err(AppendError::Conflict { actual: 1, .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// After [`AppendError::Unknown`] the append may have been committed: retry it with the same idempotency
    /// key. After any other error nothing was written.
    #[tracing::instrument(
        name = "append",
        skip_all,
        fields(request_id = append.request_id, streams = append.writes.len(), events = append.events())
    )]
    pub async fn append(&self, append: &Append) -> Result<Appended, AppendError> {
        let mut attempt = 1;
        loop {
            let entries = self.backend.key_entries(&streams_with_keys(append)).await?;
            let masters = self.encryptor.master_keys_for(&entries).await;
            let result = self.writer.append(self.encryptor.encrypt(append, &entries, &masters)?).await;
            match result {
                Err(AppendError::WrappingKeyRotated { master }) if attempt < MAX_ENCRYPT_ATTEMPTS => {
                    self.encryptor.set_wrapping_key(master);
                    attempt += 1;
                }
                Err(AppendError::Conflict { expected, actual, .. })
                    if expected.holds(actual) && attempt < MAX_ENCRYPT_ATTEMPTS =>
                {
                    attempt += 1;
                }
                result => {
                    if result.is_ok() {
                        append.writes.iter().for_each(|write| self.caches.forget(&write.stream));
                    }
                    return result;
                }
            }
        }
    }

    /// The idempotency key of a request, as keyed hashes. `scope` is the caller, the endpoint and the key as
    /// sent; `request` is everything that determines the write.
    #[must_use]
    pub fn idempotency_key(&self, scope: &[&[u8]], request: &[&[u8]]) -> IdempotencyKey {
        IdempotencyKey::new(&self.encryptor.claims, scope, request)
    }

    /// A keyed hash of values for a purpose other than claims and idempotency keys. All nodes compute the
    /// same.
    #[must_use]
    pub fn keyed_hash(&self, purpose: &str, parts: &[&[u8]]) -> ClaimHash {
        self.encryptor.claims.hash_parts(purpose, parts)
    }

    /// The recorded result of the append with that idempotency key, until its retention ends. It may belong
    /// to a different request: see [`RecordedResult::is_for`].
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn recorded_result(&self, key: &IdempotencyKey) -> Result<Option<RecordedResult>, StoreError> {
        let now = self.clock().now();
        Ok(self.backend.recorded_result(key.hash()).await?.filter(|recorded| recorded.is_retained(now)))
    }

    /// The clock that stamps the events.
    #[must_use]
    pub fn clock(&self) -> &LogClock {
        self.writer.clock()
    }

    /// The head of the log.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn head(&self) -> Result<Head, StoreError> {
        self.backend.head().await
    }

    /// A head that has reached `position` if the log has, though it may lack recent appends of other
    /// processes. If it has not reached `position`, the log has no such position.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn head_at_least(&self, position: Position) -> Result<Head, StoreError> {
        let known = self.backend.recent_head().await?;
        if known.position >= position { Ok(known) } else { self.head().await }
    }

    /// Confirms that reads which begin from now on return the newest data: that no deposed primary answers
    /// them which does not know that it was deposed.
    ///
    /// # Errors
    /// [`StoreError`] if no server can confirm that it is current.
    pub async fn confirm_head(&self) -> Result<HeadConfirmation, StoreError> {
        self.confirmation.get(&*self.backend).await
    }

    /// Whether the confirmation covers the answer, which has just arrived, to a read that was begun after it.
    #[must_use]
    pub fn is_confirmed(&self, confirmation: HeadConfirmation) -> bool {
        LatestConfirmation::is_valid(confirmation, &*self.backend)
    }

    /// What `read` returns, unless a deposed primary may have answered it: then it is read again.
    ///
    /// # Errors
    /// The error of `read`; [`StoreError::Unavailable`], which names `what` is read, if no answer can be confirmed.
    pub async fn read_confirmed<T, F>(
        &self,
        what: &str,
        mut read: impl FnMut() -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        const MAX_ATTEMPTS: usize = 8;
        for _ in 0..MAX_ATTEMPTS {
            let confirmation = self.confirm_head().await?;
            let answer = read().await?;
            if self.is_confirmed(confirmation) {
                return Ok(answer);
            }
        }
        let what = format!("reading {what}: the primary changes");
        Err(StoreError::Unavailable { what, source: None })
    }

    /// The signed head of the log (c2sp.org/tlog-checkpoint).
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn signed_checkpoint(&self) -> Result<String, StoreError> {
        let Head { position, root, note, .. } = self.head().await?;
        Ok(if position == Position::START { self.signer.sign(0, &root) } else { note })
    }

    /// Events by ascending position, with personal data decrypted. Without filters every position between the
    /// bounds is returned: a missing one is an error.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that is missing or cannot be decrypted.
    pub async fn read(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.unseal(self.read_sealed(query).await?).await
    }

    /// Like [`EventStore::read`], without decryption: for callers that need no personal data, or that of few
    /// events.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that is missing.
    pub async fn read_sealed(&self, query: &EventQuery) -> Result<Vec<Envelope>, StoreError> {
        let events = self.backend.events(query).await?;
        if query.is_unfiltered() {
            check_contiguous(query.after, &events)?;
        }
        Ok(events)
    }

    /// Decrypts the personal data of events.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that cannot be decrypted.
    pub async fn unseal(&self, events: Vec<Envelope>) -> Result<Vec<StoredEvent>, StoreError> {
        unseal(&*self.backend, &self.encryptor.masters, events).await
    }

    /// All events of a stream from version 1, with personal data decrypted; empty if the stream does not
    /// exist.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that is missing or cannot be decrypted.
    pub async fn read_stream(&self, stream: &StreamId) -> Result<Vec<StoredEvent>, StoreError> {
        self.unseal(self.read_stream_sealed(stream).await?).await
    }

    /// As [`EventStore::read_stream`], without decryption.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the version of an event that is missing.
    pub async fn read_stream_sealed(&self, stream: &StreamId) -> Result<Vec<Envelope>, StoreError> {
        const PAGE: usize = 1000;
        let mut events = Vec::new();
        loop {
            let after = events.last().map_or(0, |event: &Envelope| event.version);
            let page = self.backend.stream(stream, after, PAGE).await?;
            let last = page.len() < PAGE;
            events.extend(page);
            if last {
                break;
            }
        }
        check_versions(stream, 0, &events)?;
        Ok(events)
    }

    /// The events of a stream with versions above `after`, at most `limit`, ascending, with personal data decrypted.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    pub async fn read_stream_page(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let events = self.backend.stream(stream, after, limit).await?;
        check_versions(stream, after, &events)?;
        self.unseal(events).await
    }

    /// The last events of a stream, newest first, with personal data decrypted: at most `limit`, only versions
    /// below `before` if given.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that cannot be decrypted.
    pub async fn read_stream_backwards(
        &self,
        stream: &StreamId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.unseal(self.backend.stream_backwards(stream, before, limit).await?).await
    }

    /// Events of a stream with versions above `after`, ascending, at most `limit`, without decryption.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub async fn read_stream_after(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Envelope>, StoreError> {
        self.backend.stream(stream, after, limit).await
    }

    /// The last event of a stream, without decryption.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn last_of_stream(&self, stream: &StreamId) -> Result<Option<Envelope>, StoreError> {
        Ok(self.backend.stream_backwards(stream, None, 1).await?.pop())
    }

    /// The stream that owns each claim, in the order given; `None` if it is free.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn claim_owners(&self, claims: &[Claim]) -> Result<Vec<Option<StreamId>>, StoreError> {
        let hashes: Vec<_> = claims.iter().map(|claim| self.encryptor.claim(claim)).collect();
        let owners = self.backend.claim_owners(&hashes).await?;
        Ok(hashes.iter().map(|claim| owners.get(claim).cloned()).collect())
    }

    /// What the key store says about streams with personal data, in the order given.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn key_states(&self, streams: &[StreamId]) -> Result<Vec<KeyState>, StoreError> {
        let entries = self.backend.key_entries(streams).await?;
        let state = |stream| match entries.get(stream) {
            None => KeyState::Absent,
            Some(KeyEntry::Key(_)) => KeyState::Present,
            Some(KeyEntry::Erased) => KeyState::Erased,
        };
        Ok(streams.iter().map(state).collect())
    }

    /// The position of the first event of a stream that is newer than `version` and comes after `applied`, if
    /// there is one. An event that a projection skipped is none: its position was applied, its version was
    /// not.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn first_newer_event(
        &self,
        stream: &StreamId,
        mut version: u64,
        applied: Position,
    ) -> Result<Option<Position>, StoreError> {
        const PAGE: usize = 16;
        loop {
            let newer = self.backend.stream(stream, version, PAGE).await?;
            if let Some(event) = newer.iter().find(|event| event.position > applied) {
                return Ok(Some(event.position));
            }
            match newer.last() {
                Some(last) if newer.len() == PAGE => version = last.version,
                _ => return Ok(None),
            }
        }
    }

    /// The progress of the log and the projections, as known to this process. A copy: holding the borrowed
    /// value while borrowing it again could deadlock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the value is copied at once")]
    pub fn progress(&self) -> StoreProgress {
        self.watch_progress().borrow().clone()
    }

    /// Watches the log and the projections, including changes by other processes.
    #[must_use]
    pub fn watch_progress(&self) -> watch::Receiver<StoreProgress> {
        self.backend.watch_progress()
    }

    /// The time since the last notification about commits of other processes; `None` if there are no other
    /// processes.
    #[must_use]
    pub fn since_heartbeat(&self) -> Option<Duration> {
        self.backend.since_heartbeat()
    }

    /// The read models of the same database, with row authentication: rows that were changed in the database
    /// are refused.
    #[must_use]
    pub fn authenticate_rows(&self, rows: Arc<dyn ReadModelStore>) -> Arc<dyn ReadModelStore> {
        let key = RowKey::derive(&self.encryptor.claims);
        Arc::new(AuthenticatedRows::new(rows, key, self.metrics().tampering().clone()))
    }

    /// The delivery cursors of the same database, authenticated: cursors that were planted in the database
    /// are refused. `accepts_unsigned` says whether cursors of an earlier release are still accepted.
    #[must_use]
    pub fn authenticate_deliveries(
        &self,
        deliveries: Arc<dyn DeliveryStore>,
        accepts_unsigned: AcceptsUnsigned,
    ) -> Arc<dyn DeliveryStore> {
        let tampering = self.metrics().tampering().clone();
        let claims = &self.encryptor.claims;
        Arc::new(AuthenticatedDeliveries::new(deliveries, claims, accepts_unsigned, tampering))
    }

    /// Counts and logs a row that is not the one that the log implies, and returns the error for it.
    #[must_use]
    pub fn row_tampered(&self, table: &str, key: &str) -> StoreError {
        self.metrics().tampering().row_tampered(table, key)
    }

    /// Counts and logs a row that the log implies and the table lacks, and returns the error for it.
    #[must_use]
    pub fn row_missing(&self, table: &str, key: &str) -> StoreError {
        self.metrics().tampering().row_missing(table, key)
    }

    /// The counters of appends since this log was opened.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.writer.metrics()
    }

    /// Waits until the events up to `position` are applied to `table` (read-your-writes); `false` if `bound`
    /// passes first.
    pub async fn wait_until_applied(&self, table: &str, position: Position, bound: Duration) -> bool {
        let mut updates = self.watch_progress();
        let reached = updates.wait_for(|progress| progress.applied_position(table) >= position);
        tokio::time::timeout(bound, reached).await.is_ok_and(|progress| progress.is_ok())
    }

    /// Has a cache forget the streams to which this process appends, as soon as it has.
    pub(crate) fn register_cache(&self, cache: Weak<dyn ForgetStream>) {
        self.caches.add(cache);
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub(crate) fn env(&self) -> &Env {
        &self.encryptor.env
    }

    pub(crate) fn masters(&self) -> &Keyring {
        &self.encryptor.masters
    }

    /// The master keys, after loading those needed for these entries.
    pub(crate) async fn master_keys_for(&self, entries: &HashMap<StreamId, KeyEntry>) -> Arc<MasterKeys> {
        self.encryptor.master_keys_for(entries).await
    }

    pub(crate) fn claim_key(&self) -> &ClaimKey {
        &self.encryptor.claims
    }

    /// Commits the queued appends and stops the writer. Every clone can still read; their appends are
    /// rejected.
    pub async fn close(&self) {
        self.writer.close();
        if let Some(task) = self.task.lock().await.take() {
            // Fails only if the task panicked; then no appends are left.
            drop(task.await);
        }
    }
}

/// Versions have no gaps, so a missing one means that an event was lost or removed.
fn check_versions(stream: &StreamId, after: u64, events: &[Envelope]) -> Result<(), StoreError> {
    let expected = after.saturating_add(1)..;
    match expected.zip(events).find(|(expected, event)| *expected != event.version) {
        None => Ok(()),
        Some((expected, event)) => {
            Err(Corruption::StreamVersionGap { stream: stream.clone(), expected, found: event.version }
                .into())
        }
    }
}

/// The streams that may have a data key for this append. A stream that must not exist has none; if it does exist,
/// the append is rejected.
fn streams_with_keys(append: &Append) -> Vec<StreamId> {
    let secret = |write: &&crate::append::StreamWrite| {
        write.takes_claims() || write.events.iter().any(|event| !event.personal.is_empty())
    };
    let known = append
        .writes
        .iter()
        .filter(|write| write.expected != ExpectedVersion::NoStream || !write.stream.owns_key());
    known.filter(secret).map(|write| write.stream.key_owner()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn genesis(masters: &MasterKeys, env: &Env) -> Result<Genesis, StoreError> {
    let wrap = |name: &str| {
        let key: [u8; 32] = env.bytes();
        let wrapped = masters.current_key().wrap(&owner(name), &key, env);
        wrapped.map_err(|_| {
            StoreError::from(InternalError::Encryption { what: format!("the service key `{name}`") })
        })
    };
    Ok(Genesis { format: FORMAT, log_id: env.uuid(), claim_key: wrap(CLAIMS)?, signing_key: wrap(SIGNING)? })
}
