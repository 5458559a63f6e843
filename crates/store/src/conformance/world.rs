//! What the promises are tried in: one database that several "processes" open, and short words for what they do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::ambient::{Ambient, Clock, Entropy};
use crate::append::{Append, AppendError, Appended, Claim, Expected, StreamWrite};
use crate::backend::{Backend, EventQuery};
use crate::deliveries::Deliveries;
use crate::error::StoreError;
use crate::event::{NewEvent, Position, Recorded, StreamId};
use crate::event_store::EventStore;
use crate::lease::Leases;
use crate::rotation::WrappedKeys;
use crate::rows::ReadModels;
use crate::tiles::TileStore;
use crate::vault::{Keyring, MasterKey};

/// How long anything that must happen may take on a slow machine. Nothing waits this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A database made for one test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens the database once more, as another process would.
    async fn open(&self) -> Handle;
}

/// One process's view of a database.
#[derive(Clone)]
pub struct Handle {
    /// The log.
    pub log: Arc<dyn Backend>,
    /// The read models.
    pub rows: Arc<dyn ReadModels>,
    /// Who works on them.
    pub leases: Arc<dyn Leases>,
    /// The tiles.
    pub tiles: Arc<dyn TileStore>,
    /// The wrapped keys.
    pub keys: Arc<dyn WrappedKeys>,
    /// How far subscribers are.
    pub deliveries: Arc<dyn Deliveries>,
}

impl Handle {
    /// A database in all its roles.
    pub fn of<D>(database: D) -> Self
    where
        D: Backend + ReadModels + Leases + TileStore + WrappedKeys + Deliveries + 'static,
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
pub struct World {
    fixture: Box<dyn Fixture>,
    master: MasterKey,
    clock: Arc<SetClock>,
    system: Ambient,
}

impl World {
    /// A world around a fixture.
    #[must_use]
    pub fn new(fixture: impl Fixture + 'static) -> Self {
        let system = Ambient::system();
        Self {
            fixture: Box::new(fixture),
            master: MasterKey::generate(&system),
            clock: Arc::new(SetClock { now: Mutex::new(system.now()), entropy: system.clone() }),
            system,
        }
    }

    /// A new process: its own handle, its own writer task.
    pub async fn store(&self) -> EventStore {
        self.process().await.0
    }

    /// The bare handle of a new process, its database migrated.
    pub async fn handle(&self) -> Handle {
        self.process().await.1
    }

    /// The bare handle of a new process that has not migrated anything yet.
    pub async fn untouched(&self) -> Handle {
        self.fixture.open().await
    }

    /// A new process on a handle that a test has made itself.
    pub async fn store_on(&self, handle: &Handle) -> EventStore {
        self.open(handle, self.master.clone()).await.unwrap()
    }

    /// A new process with other master keys than those of this world.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(&self, handle: &Handle, masters: impl Into<Keyring>) -> Result<EventStore, StoreError> {
        let ambient = Ambient::new(self.clock.clone(), self.clock.clone());
        EventStore::open(handle.log.clone(), masters, ambient).await
    }

    async fn process(&self) -> (EventStore, Handle) {
        let handle = self.fixture.open().await;
        (self.store_on(&handle).await, handle)
    }

    /// Sets the clock of all processes of this world.
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
    pub fn stream(&self) -> StreamId {
        StreamId::new(format!("user-{}", self.system.uuid().hyphenated())).unwrap()
    }

    /// An event with something personal in it.
    #[must_use]
    pub fn event(&self, secret: &str) -> NewEvent {
        NewEvent { personal: object("email", secret), ..self.plain_event() }
    }

    /// An event with nothing personal in it.
    #[must_use]
    pub fn plain_event(&self) -> NewEvent {
        NewEvent {
            id: self.system.uuid(),
            event_type: "Happened".to_owned(),
            schema: 1,
            data: object("what", "something"),
            personal: Map::new(),
        }
    }

    /// A write of one personal event.
    #[must_use]
    pub fn write(&self, stream: &StreamId, expected: Expected) -> StreamWrite {
        StreamWrite::new(stream.clone(), expected, vec![self.event("ada@example.com")])
    }

    /// A write that opens a stream and takes an e-mail claim.
    #[must_use]
    pub fn claiming(&self, stream: &StreamId, email: &str) -> StreamWrite {
        StreamWrite { take: vec![self::email(email)], ..self.write(stream, Expected::NoStream) }
    }
}

/// An append of these writes.
#[must_use]
pub fn append(writes: impl IntoIterator<Item = StreamWrite>) -> Append {
    Append::new("system", "test", writes.into_iter().collect())
}

/// Appends these writes.
///
/// # Errors
/// What the store says.
pub async fn put(
    store: &EventStore,
    writes: impl IntoIterator<Item = StreamWrite>,
) -> Result<Appended, AppendError> {
    store.append(&append(writes)).await
}

/// Every event of the log.
pub async fn all(store: &EventStore) -> Vec<Recorded> {
    after(store, Position::START).await
}

/// Every event after a position.
pub async fn after(store: &EventStore, after: Position) -> Vec<Recorded> {
    store.read(&EventQuery { after, limit: 100_000, ..EventQuery::default() }).await.unwrap()
}

/// An e-mail claim.
#[must_use]
pub fn email(value: &str) -> Claim {
    Claim { kind: "email", value: value.to_owned() }
}

/// A username claim.
#[must_use]
pub fn username(value: &str) -> Claim {
    Claim { kind: "username", value: value.to_owned() }
}

/// An object of one field.
#[must_use]
pub fn object(name: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.into())])
}

struct SetClock {
    now: Mutex<Timestamp>,
    entropy: Ambient,
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }
}

impl Entropy for SetClock {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random: [u8; 8] = self.entropy.bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}
