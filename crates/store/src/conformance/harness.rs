//! What the promises are tried in: one database that several "processes" open, and short words for what they do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::append::{Append, AppendError, Appended, Claim, ExpectedVersion, StreamWrite};
use crate::backend::{Backend, EventQuery};
use crate::deliveries::DeliveryStore;
use crate::env::{Clock, Entropy, Env};
use crate::error::StoreError;
use crate::event::{NewEvent, Position, StoredEvent, StreamId};
use crate::event_store::EventStore;
use crate::key_store::{Keyring, MasterKey};
use crate::lease::LeaseStore;
use crate::rotation::WrappedKeyStore;
use crate::rows::ReadModelStore;
use crate::tiles::TileStore;

/// How long anything that must happen may take on a slow machine. Nothing waits this long unless it is broken.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A database made for one test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens the database once more, as another process would.
    async fn open(&self) -> BackendHandle;
}

/// One process's view of a database.
#[derive(Clone)]
pub struct BackendHandle {
    /// The log.
    pub log: Arc<dyn Backend>,
    /// The read models.
    pub rows: Arc<dyn ReadModelStore>,
    /// Who works on them.
    pub leases: Arc<dyn LeaseStore>,
    /// The tiles.
    pub tiles: Arc<dyn TileStore>,
    /// The wrapped keys.
    pub keys: Arc<dyn WrappedKeyStore>,
    /// How far subscribers are.
    pub deliveries: Arc<dyn DeliveryStore>,
}

impl BackendHandle {
    /// A database in all its roles.
    pub fn new<D>(database: D) -> Self
    where
        D: Backend + ReadModelStore + LeaseStore + TileStore + WrappedKeyStore + DeliveryStore + 'static,
    {
        let database = Arc::new(database);
        Self {
            log: database.clone(),
            rows: database.clone(),
            leases: database.clone(),
            tiles: database.clone(),
            keys: database.clone(),
            deliveries: database,
        }
    }
}

/// A database, its master key, and a clock that can be set.
pub struct Harness {
    fixture: Box<dyn Fixture>,
    master: MasterKey,
    clock: Arc<SettableClock>,
    system: Env,
}

impl Harness {
    /// A harness around a fixture.
    #[must_use]
    pub fn new(fixture: impl Fixture + 'static) -> Self {
        let system = Env::system();
        Self {
            fixture: Box::new(fixture),
            master: MasterKey::generate(&system),
            clock: Arc::new(SettableClock { now: Mutex::new(system.now()), entropy: system.clone() }),
            system,
        }
    }

    /// A new process: its own handle, its own writer task.
    pub async fn open_store(&self) -> EventStore {
        self.process().await.0
    }

    /// The bare handle of a new process, its database migrated.
    pub async fn open_migrated(&self) -> BackendHandle {
        self.process().await.1
    }

    /// The bare handle of a new process that has not migrated anything yet.
    pub async fn open_unmigrated(&self) -> BackendHandle {
        self.fixture.open().await
    }

    /// A new process on a handle that a test has made itself.
    pub async fn store_on(&self, handle: &BackendHandle) -> EventStore {
        self.open_with_master_keys(handle, self.master.clone()).await.unwrap()
    }

    /// A new process with other master keys than those of this harness.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open_with_master_keys(
        &self,
        handle: &BackendHandle,
        masters: impl Into<Keyring>,
    ) -> Result<EventStore, StoreError> {
        let env = Env::new(self.clock.clone(), self.clock.clone());
        EventStore::open(handle.log.clone(), masters, env).await
    }

    async fn process(&self) -> (EventStore, BackendHandle) {
        let handle = self.fixture.open().await;
        (self.store_on(&handle).await, handle)
    }

    /// Sets the clock of all processes of this harness.
    pub fn set_clock(&self, now: Timestamp) {
        *self.clock.now.lock().unwrap() = now;
    }

    /// The time on that clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A fresh stream name.
    #[must_use]
    pub fn new_stream(&self) -> StreamId {
        StreamId::new(format!("user-{}", self.system.uuid().hyphenated())).unwrap()
    }

    /// An event with something personal in it.
    #[must_use]
    pub fn personal_event(&self, secret: &str) -> NewEvent {
        NewEvent { personal: json_object("email", secret), ..self.plain_event() }
    }

    /// An event with nothing personal in it.
    #[must_use]
    pub fn plain_event(&self) -> NewEvent {
        NewEvent {
            id: self.system.uuid(),
            event_type: "Happened".to_owned(),
            schema: 1,
            data: json_object("what", "something"),
            personal: Map::new(),
        }
    }

    /// A write of one personal event.
    #[must_use]
    pub fn write(&self, stream: &StreamId, expected: ExpectedVersion) -> StreamWrite {
        StreamWrite::new(stream.clone(), expected, vec![self.personal_event("ada@example.com")])
    }

    /// A write that opens a stream and takes an e-mail claim.
    #[must_use]
    pub fn write_claiming_email(&self, stream: &StreamId, email: &str) -> StreamWrite {
        StreamWrite { take: vec![self::email_claim(email)], ..self.write(stream, ExpectedVersion::NoStream) }
    }
}

/// An append of these writes.
#[must_use]
pub fn build_append(writes: impl IntoIterator<Item = StreamWrite>) -> Append {
    Append::new("system", "test", writes.into_iter().collect())
}

/// Appends these writes.
///
/// # Errors
/// What the store says.
pub async fn append_writes(
    store: &EventStore,
    writes: impl IntoIterator<Item = StreamWrite>,
) -> Result<Appended, AppendError> {
    store.append(&build_append(writes)).await
}

/// Every event of the log.
pub async fn read_all(store: &EventStore) -> Vec<StoredEvent> {
    read_after(store, Position::START).await
}

/// Every event after a position.
pub async fn read_after(store: &EventStore, after: Position) -> Vec<StoredEvent> {
    store.read(&EventQuery { after, limit: 100_000, ..EventQuery::default() }).await.unwrap()
}

/// An e-mail claim.
#[must_use]
pub fn email_claim(value: &str) -> Claim {
    Claim { kind: "email", value: value.to_owned() }
}

/// A username claim.
#[must_use]
pub fn username_claim(value: &str) -> Claim {
    Claim { kind: "username", value: value.to_owned() }
}

/// An object of one field.
#[must_use]
pub fn json_object(name: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.into())])
}

struct SettableClock {
    now: Mutex<Timestamp>,
    entropy: Env,
}

impl Clock for SettableClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }
}

impl Entropy for SettableClock {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random: [u8; 8] = self.entropy.bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}
