//! The event store as the service sees it: append, read, follow. Sealing, claims and group commit are behind it, the
//! database is below it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::append::{Append, AppendError, Appended, ExpectedVersion};
use crate::backend::{Backend, EventQuery, FORMAT, Genesis};
use crate::checkpoint::Signer;
use crate::encryptor::Encryptor;
use crate::env::Env;
use crate::error::{Corruption, InternalError, StoreError};
use crate::event::{Envelope, Position, StoredEvent, StreamId};
use crate::head::Head;
use crate::idempotency::{IdempotencyKey, RecordedResult};
use crate::key_store::{ClaimKey, Keyring, MasterKey, MasterKeys};
use crate::metrics::Metrics;
use crate::progress::StoreProgress;
use crate::read::{check_contiguous, unseal};
use crate::rotation::{CLAIMS, SIGNING, check_masters, owner, service_key};
use crate::writer::Writer;

/// How often an append is sealed anew because another process gave the stream its key in between, or began to rotate the
/// master key.
const MAX_ENCRYPT_ATTEMPTS: usize = 3;

/// The event store.
#[derive(Clone)]
pub struct EventStore {
    backend: Arc<dyn Backend>,
    encryptor: Arc<Encryptor>,
    writer: Writer,
    log_id: Uuid,
    signer: Arc<Signer>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl EventStore {
    /// Opens the log, making it first if the database is empty.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the database is not one that this version may use; [`StoreError::KeyMissing`] if a
    /// master key that it takes is not among `masters`. Nothing is changed then. [`StoreError::Unavailable`] if it
    /// cannot be reached.
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
        let (writer, task) = Writer::start(Arc::clone(&backend), Arc::clone(&signer), env.clone());
        Ok(Self {
            backend,
            encryptor: Arc::new(Encryptor::new(masters, wrapping, ClaimKey::new(&claims), env)),
            writer,
            log_id: stored.log_id,
            signer,
            task: Arc::new(Mutex::new(Some(task))),
        })
    }

    /// The log's identity, made once with the database.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.log_id
    }

    /// Who signs the head.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Appends events, whole or not at all. Dropping the future does not stop it.
    ///
    /// # Errors
    /// [`AppendError`]: refused, not done, or (only [`AppendError::Unknown`]) perhaps done.
    #[tracing::instrument(
        name = "append",
        skip_all,
        fields(request_id = append.request_id, streams = append.writes.len(), events = append.events())
    )]
    pub async fn append(&self, append: &Append) -> Result<Appended, AppendError> {
        let mut attempt = 1;
        loop {
            let vault = self.backend.key_entries(&existing_streams_with_secrets(append)).await?;
            let masters = self.encryptor.master_keys_for(&vault).await;
            let result = self.writer.append(self.encryptor.encrypt(append, &vault, &masters)?).await;
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
                result => return result,
            }
        }
    }

    /// A caller's idempotency key, as it is kept. `scope` is what the key belongs to: the caller, the endpoint and the
    /// key as it was sent; `request` is all that makes the write what it is.
    #[must_use]
    pub fn idempotency_key(&self, scope: &[&[u8]], request: &[&[u8]]) -> IdempotencyKey {
        IdempotencyKey::new(&self.encryptor.claims, scope, request)
    }

    /// What the first append under that key has come to, within the time it is kept. It may have been another request:
    /// [`RecordedResult::is_for`] tells.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn recorded_result(&self, key: &IdempotencyKey) -> Result<Option<RecordedResult>, StoreError> {
        let now = self.encryptor.env.now();
        Ok(self.backend.recorded_result(key.hash()).await?.filter(|first| first.is_retained(now)))
    }

    /// The head of the log.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn head(&self) -> Result<Head, StoreError> {
        self.backend.head().await
    }

    /// The head, if that tells enough: one that reaches `position`, though others may have appended more since. Where it
    /// does not, the log has no such position.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn head_at_least(&self, position: Position) -> Result<Head, StoreError> {
        let known = self.backend.recent_head().await?;
        if known.position >= position { Ok(known) } else { self.head().await }
    }

    /// The signed head of the log (c2sp.org/tlog-checkpoint).
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn signed_checkpoint(&self) -> Result<String, StoreError> {
        let Head { position, root, note, .. } = self.head().await?;
        Ok(if position == Position::START { self.signer.sign(0, &root) } else { note })
    }

    /// Events by ascending position, personal values unsealed. A query without filters gives every position between
    /// its bounds: a missing one is an error, never skipped.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that is missing or cannot be unsealed.
    pub async fn read(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.unseal(self.read_sealed(query).await?).await
    }

    /// As [`EventStore::read`], but as stored: for those who need few of them, or nothing personal.
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

    /// Opens what is personal in these events.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that cannot be unsealed.
    pub async fn unseal(&self, events: Vec<Envelope>) -> Result<Vec<StoredEvent>, StoreError> {
        unseal(&*self.backend, &self.encryptor.masters, events).await
    }

    /// All events of a stream from version 1, personal values unsealed; empty if there is no such stream.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that is missing or cannot be unsealed.
    pub async fn read_stream(&self, stream: &StreamId) -> Result<Vec<StoredEvent>, StoreError> {
        const PAGE: usize = 1000;
        let mut events = Vec::new();
        loop {
            let after = events.last().map_or(0, |event: &crate::event::Envelope| event.version);
            let page = self.backend.stream(stream, after, PAGE).await?;
            let last = page.len() < PAGE;
            events.extend(page);
            if last {
                break;
            }
        }
        if let Some((want, event)) = (1..).zip(&events).find(|(want, event)| *want != event.version) {
            let found = event.version;
            let stream = stream.clone();
            return Err(Corruption::StreamVersionGap { stream, expected: want, found }.into());
        }
        unseal(&*self.backend, &self.encryptor.masters, events).await
    }

    /// The position of the first event of a stream above `version`, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn first_after_version(
        &self,
        stream: &StreamId,
        version: u64,
    ) -> Result<Option<Position>, StoreError> {
        let news = self.backend.stream(stream, version, 1).await?;
        Ok(news.first().map(|event| event.position))
    }

    /// How far the log and the projections are, as far as this process has heard. It is a copy, so that it may be kept
    /// while it is asked for again: whoever held the board itself meanwhile could wait for themselves forever.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "nothing happens between borrowing and copying")]
    pub fn progress(&self) -> StoreProgress {
        self.watch_progress().borrow().clone()
    }

    /// Follows the log and the projections: wakes on every move, also one that another process made.
    #[must_use]
    pub fn watch_progress(&self) -> watch::Receiver<StoreProgress> {
        self.backend.watch_progress()
    }

    /// For how long nothing was heard of the commits of other processes, not even that there are none; `None` where
    /// there are no others.
    #[must_use]
    pub fn since_heartbeat(&self) -> Option<Duration> {
        self.backend.since_heartbeat()
    }

    /// What the writing of events has come to since this log was opened.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.writer.metrics()
    }

    /// Waits until `table` has every event up to `position`; `false` if `bound` passes first.
    pub async fn wait_until_applied(&self, table: &str, position: Position, bound: Duration) -> bool {
        let mut updates = self.watch_progress();
        let reached = updates.wait_for(|progress| progress.applied_position(table) >= position);
        tokio::time::timeout(bound, reached).await.is_ok_and(|progress| progress.is_ok())
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub(crate) fn masters(&self) -> &Keyring {
        &self.encryptor.masters
    }

    pub(crate) fn claim_key(&self) -> &ClaimKey {
        &self.encryptor.claims
    }

    /// Finishes what was handed over and stops writing. Every clone can still read; their appends are refused.
    pub async fn close(&self) {
        self.writer.close();
        if let Some(task) = self.task.lock().await.take() {
            // It can only fail by panicking, and then there is nothing left to finish.
            drop(task.await);
        }
    }
}

/// Streams that may have a key already. A stream that must not exist has none; should it, the append is refused.
fn existing_streams_with_secrets(append: &Append) -> Vec<StreamId> {
    let secret = |write: &&crate::append::StreamWrite| {
        !write.take.is_empty() || write.events.iter().any(|event| !event.personal.is_empty())
    };
    let known = append.writes.iter().filter(|write| write.expected != ExpectedVersion::NoStream);
    known.filter(secret).map(|write| write.stream.clone()).collect::<BTreeSet<_>>().into_iter().collect()
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
