//! The workload: sign-ups through the command, from the decision to the commit, with pre-hashed passwords.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aegis::app::Database;
use aegis::command::UserCommands;
use domain::{PasswordHash, UserCommand, UserId};
use projections::{Projection, ProjectionContext, ProjectionHandle, ProjectionRunner, Users, lifecycle};
use store::tiles::TileStore;
use store::{Env, EventStore, MasterKey, Position, ReadModelStore, SessionStore, Table};
use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::scratch::{ScratchDatabase, ScratchDatabases};
use crate::time_slice::TimeSlice;
use crate::users::{PASSWORD_HASH, registration};

/// The number of events in a log that is filled before it is measured.
const LOG_SIZE: u64 = 50_000;
/// Concurrent registrations while a log is filled.
const FILL_CONCURRENCY: u64 = 256;

const NODE: &str = "bench";
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);

/// The events after one position, up to and including another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventRange {
    pub(crate) after: Position,
    pub(crate) until: Position,
}

impl EventRange {
    pub(crate) fn events(self) -> u64 {
        self.until.get() - self.after.get()
    }
}

/// A log in which users are registered.
pub(crate) struct Registrations {
    store: EventStore,
    sources: ProjectionContext,
    bare_rows: Arc<dyn ReadModelStore>,
    tiles: Arc<dyn TileStore>,
    sessions: Arc<dyn SessionStore>,
    generator: UserGenerator,
}

/// Registers new users. Clones share the counter that makes them unique.
#[derive(Clone)]
struct UserGenerator {
    users: UserCommands,
    next: Arc<AtomicU64>,
    request_id: Arc<str>,
}

impl Registrations {
    /// Creates a log in a scratch database.
    pub(crate) async fn open(scratch: &ScratchDatabase) -> Result<Self, BenchError> {
        let env = Env::system();
        let database = Database::connect(scratch.settings()).await?;
        let store = EventStore::open(database.log, MasterKey::generate(&env), env.clone()).await?;
        // As the service does: rows carry authentication codes.
        let (rows, bare_rows) = (store.authenticate_rows(Arc::clone(&database.rows)), database.rows);
        let sources = ProjectionContext { events: store.clone(), rows, leases: database.leases };
        let generator = UserGenerator {
            request_id: env.uuid().hyphenated().to_string().into(),
            users: UserCommands::new(store.clone(), env),
            next: Arc::default(),
        };
        Ok(Self { store, sources, bare_rows, tiles: database.tiles, sessions: database.sessions, generator })
    }

    /// Creates a log and registers [`LOG_SIZE`] users, or as many as fit into the time slice.
    pub(crate) async fn filled(
        scratch: &ScratchDatabases,
        slice: &TimeSlice,
    ) -> Result<(ScratchDatabase, Self), BenchError> {
        let database = scratch.database().await?;
        let subject = Self::open(&database).await?;
        subject.fill(LOG_SIZE, slice).await?;
        Ok((database, subject))
    }

    /// As [`Registrations::filled`], with all rows of the users; also their table, and the ids of at most `count`.
    pub(crate) async fn with_rows(
        scratch: &ScratchDatabases,
        slice: &TimeSlice,
        count: usize,
    ) -> Result<(Self, Table, Arc<[UserId]>), BenchError> {
        let (_, subject) = Self::filled(scratch, slice).await?;
        let projectors = subject.start_projectors().await?;
        subject.wait_until_visible(subject.whole_log().await?.until).await?;
        projectors.stop().await;
        let users: &dyn Projection = &Users;
        let table = users.table(subject.sources.events.progress().live_version(Users.name()));
        let rows = subject.sources.rows.row_page(&table, None, count).await?.rows;
        let id = |row: &store::Row| UserId::parse(row.get(table.key())?.as_str()?).ok();
        let ids = rows.iter().filter_map(id).collect();
        Ok((subject, table, ids))
    }

    pub(crate) fn sources(&self) -> &ProjectionContext {
        &self.sources
    }

    /// The same without row authentication.
    pub(crate) fn bare_sources(&self) -> ProjectionContext {
        ProjectionContext { rows: Arc::clone(&self.bare_rows), ..self.sources.clone() }
    }

    pub(crate) fn users(&self) -> &UserCommands {
        &self.generator.users
    }

    pub(crate) fn sessions(&self) -> Arc<dyn SessionStore> {
        Arc::clone(&self.sessions)
    }

    pub(crate) fn tiles(&self) -> Arc<dyn TileStore> {
        Arc::clone(&self.tiles)
    }

    pub(crate) async fn whole_log(&self) -> Result<EventRange, BenchError> {
        Ok(EventRange { after: Position::START, until: self.store.head().await?.position })
    }

    async fn fill(&self, count: u64, slice: &TimeSlice) -> Result<(), BenchError> {
        let mut clients = JoinSet::new();
        for client in 0..FILL_CONCURRENCY {
            let (generator, slice) = (self.generator.clone(), slice.clone());
            clients.spawn(async move {
                for _ in (client..count).step_by(usize::try_from(FILL_CONCURRENCY).unwrap_or(1)) {
                    slice.check()?;
                    generator.register(generator.next()?).await?;
                    // At least one per client.
                    if slice.is_over() {
                        break;
                    }
                }
                Ok::<_, BenchError>(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done.map_err(BenchError::invalid)??;
        }
        Ok(())
    }

    /// Starts the projectors of all projections.
    pub(crate) async fn start_projectors(&self) -> Result<ProjectionHandle, BenchError> {
        for projection in projections::all() {
            lifecycle::open(projection, &self.sources, NODE, Env::system().now()).await?;
        }
        Ok(ProjectionRunner::new(&projections::all(), self.sources.clone(), Env::system(), NODE).start())
    }

    /// Waits until the event at `position` is in the rows of `users`.
    pub(crate) async fn wait_until_visible(&self, position: Position) -> Result<(), BenchError> {
        let users: &dyn Projection = &Users;
        let table = users.table(self.store.progress().live_version(Users.name()));
        if self.store.wait_until_applied(&table.name, position, VISIBILITY_TIMEOUT).await {
            return Ok(());
        }
        Err(BenchError::InvalidMeasurement(format!(
            "position {position} was not projected within {VISIBILITY_TIMEOUT:?}"
        )))
    }

    /// Registers one user; returns the position of the event.
    pub(crate) async fn register_one(&self) -> Result<Position, BenchError> {
        self.generator.register(self.generator.next()?).await
    }

    /// Registers one user after the other; returns the events and how long each took.
    pub(crate) async fn append_sequentially(
        &self,
        slice: &TimeSlice,
    ) -> Result<(EventRange, Vec<Duration>), BenchError> {
        let after = self.store.head().await?.position;
        let mut took = Vec::new();
        while !slice.is_over() || took.is_empty() {
            let registration = self.generator.next()?;
            let begun = Instant::now();
            self.generator.register(registration).await?;
            took.push(begun.elapsed());
        }
        Ok((self.written(after, slice).await?, took))
    }

    /// Keeps that many registrations in progress; returns the events and their rate per second.
    pub(crate) async fn append_concurrently(
        &self,
        concurrency: usize,
        slice: &TimeSlice,
    ) -> Result<(EventRange, f64), BenchError> {
        let after = self.store.head().await?.position;
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..concurrency {
            let (generator, slice) = (self.generator.clone(), slice.clone());
            clients.spawn(async move {
                // At least one, so that even the shortest slice measures something.
                let mut registered = 0_u32;
                while registered == 0 || !slice.is_over() {
                    generator.register(generator.next()?).await?;
                    registered += 1;
                }
                Ok::<_, BenchError>(registered)
            });
        }
        let mut registered = 0;
        while let Some(done) = clients.join_next().await {
            registered += done.map_err(BenchError::invalid)??;
        }
        // Timed until the last answer, so that everything that is counted lies within the measured time.
        let rate = f64::from(registered) / begun.elapsed().as_secs_f64();
        Ok((self.written(after, slice).await?, rate))
    }

    /// Closes the event store; its database stays.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }

    async fn written(&self, after: Position, slice: &TimeSlice) -> Result<EventRange, BenchError> {
        slice.check()?;
        Ok(EventRange { after, until: self.store.head().await?.position })
    }
}

impl UserGenerator {
    fn next(&self) -> Result<UserCommand, BenchError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        registration(number, PasswordHash::from_stored(PASSWORD_HASH))
    }

    async fn register(&self, registration: UserCommand) -> Result<Position, BenchError> {
        let state = self.users.register(&self.request_id, None, registration).await?;
        state
            .position
            .ok_or_else(|| BenchError::InvalidMeasurement("a registration has no position".to_owned()))
    }
}
