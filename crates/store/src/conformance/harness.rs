//! The harness of the suite: one database that several simulated processes open, with helpers to write and
//! read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
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
use crate::sessions::SessionStore;
use crate::tiles::TileStore;

/// Upper bound of a single step, generous enough for a slow machine.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A database created for one test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens the database as another process would.
    async fn open(&self) -> BackendHandle;
}

/// The ports of one process to a database.
#[derive(Clone)]
pub struct BackendHandle {
    /// The log.
    pub log: Arc<dyn Backend>,
    /// The read models.
    pub rows: Arc<dyn ReadModelStore>,
    /// The leases.
    pub leases: Arc<dyn LeaseStore>,
    /// The tiles.
    pub tiles: Arc<dyn TileStore>,
    /// The wrapped keys.
    pub keys: Arc<dyn WrappedKeyStore>,
    /// The delivery cursors.
    pub deliveries: Arc<dyn DeliveryStore>,
    /// The sessions.
    pub sessions: Arc<dyn SessionStore>,
}

impl BackendHandle {
    /// All ports of one backend.
    pub fn new<D>(database: D) -> Self
    where
        D: Backend
            + ReadModelStore
            + LeaseStore
            + TileStore
            + WrappedKeyStore
            + DeliveryStore
            + SessionStore
            + 'static,
    {
        let database = Arc::new(database);
        Self {
            log: database.clone(),
            rows: database.clone(),
            leases: database.clone(),
            tiles: database.clone(),
            keys: database.clone(),
            deliveries: database.clone(),
            sessions: database,
        }
    }
}

/// A database with a master key and a settable clock.
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

    /// Opens the store as a new process, with its own backend and writer task.
    pub async fn open_store(&self) -> EventStore {
        self.process().await.0
    }

    /// The backend of a new process, with a migrated database.
    pub async fn open_migrated(&self) -> BackendHandle {
        self.process().await.1
    }

    /// The backend of a new process, without migration.
    pub async fn open_unmigrated(&self) -> BackendHandle {
        self.fixture.open().await
    }

    /// Opens the store on a backend that the test has opened.
    pub async fn store_on(&self, handle: &BackendHandle) -> EventStore {
        self.open_with_master_keys(handle, self.master.clone()).await.unwrap()
    }

    /// Opens the store with other master keys.
    ///
    /// # Errors
    /// The error of the store.
    pub async fn open_with_master_keys(
        &self,
        handle: &BackendHandle,
        masters: impl Into<Keyring>,
    ) -> Result<EventStore, StoreError> {
        let env = Env::new(self.clock.clone(), self.clock.clone());
        EventStore::open(handle.log.clone(), masters, env).await
    }

    /// Opens the store as a process on a machine with this clock.
    pub async fn open_store_with_clock(&self, clock: &Arc<WallClock>) -> EventStore {
        let (handle, env) = (self.fixture.open().await, Env::new(clock.clone(), self.clock.clone()));
        EventStore::open(handle.log, self.master.clone(), env).await.unwrap()
    }

    async fn process(&self) -> (EventStore, BackendHandle) {
        let handle = self.fixture.open().await;
        (self.store_on(&handle).await, handle)
    }

    /// Sets the clock of all processes.
    pub fn set_clock(&self, now: Timestamp) {
        *self.clock.now.lock().unwrap() = now;
    }

    /// The time of that clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new stream name.
    #[must_use]
    pub fn new_stream(&self) -> StreamId {
        StreamId::new(format!("user-{}", self.system.uuid().hyphenated())).unwrap()
    }

    /// A new random number, for ids whose order a test chooses.
    #[must_use]
    pub fn new_id(&self) -> u64 {
        u64::from_be_bytes(self.system.bytes())
    }

    /// An event with personal data.
    #[must_use]
    pub fn personal_event(&self, secret: &str) -> NewEvent {
        NewEvent { personal: json_object("email", secret), ..self.plain_event() }
    }

    /// An event without personal data.
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

    /// A write of one event with personal data.
    #[must_use]
    pub fn write(&self, stream: &StreamId, expected: ExpectedVersion) -> StreamWrite {
        StreamWrite::new(stream.clone(), expected, vec![self.personal_event("ada@example.com")])
    }

    /// A write that creates a stream and takes an e-mail claim.
    #[must_use]
    pub fn write_claiming_email(&self, stream: &StreamId, email: &str) -> StreamWrite {
        StreamWrite { take: vec![self::email_claim(email)], ..self.write(stream, ExpectedVersion::NoStream) }
    }
}

/// Builds an append of these writes.
#[must_use]
pub fn build_append(writes: impl IntoIterator<Item = StreamWrite>) -> Append {
    Append::new("system", "test", writes.into_iter().collect())
}

/// Appends these writes.
///
/// # Errors
/// The error of the store.
pub async fn append_writes(
    store: &EventStore,
    writes: impl IntoIterator<Item = StreamWrite>,
) -> Result<Appended, AppendError> {
    store.append(&build_append(writes)).await
}

/// Reads every event of the log.
pub async fn read_all(store: &EventStore) -> Vec<StoredEvent> {
    read_after(store, Position::START).await
}

/// Reads every event after a position.
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

/// A JSON object with one field.
#[must_use]
pub fn json_object(name: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.into())])
}

/// The clock of a machine, which may be wrong.
#[derive(Default)]
pub struct WallClock(Mutex<SignedDuration>);

impl WallClock {
    /// Sets the clock ahead of the right time by this much.
    pub fn set_ahead(&self, by: SignedDuration) {
        *self.0.lock().unwrap() = by;
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Env::system().now() + *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Option<Duration> {
        Env::system().monotonic()
    }
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
