//! The subject of appends: sign-ups by way of the command, from the decision to the commit. Passwords count as hashed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::{EmailAddress, PasswordHash, Username};
use projections::Sources;
use store::tiles::TileStore;
use store::{Ambient, EventStore, MasterKey, Position};
use tokio::task::JoinSet;

use super::BenchError;
use super::ground::Scratch;
use super::rounds::Slice;
use crate::app::Database;
use crate::command::{SignUp, UserCommands};

/// How many registrations are under way while a log is filled.
const FILLING: u64 = 256;

/// As long as a real one with the default costs.
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBhIGhhc2ghIQ";

/// The events after a position up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) after: Position,
    pub(super) until: Position,
}

impl Written {
    /// How many there are.
    pub(super) fn events(self) -> u64 {
        self.until.get() - self.after.get()
    }
}

/// A log that users are registered in.
pub(super) struct Registrations {
    store: EventStore,
    sources: Sources,
    tiles: Arc<dyn TileStore>,
    newcomers: Newcomers,
}

/// Registers one new user after another. Clones share the numbers that users are told apart by.
#[derive(Clone)]
struct Newcomers {
    users: UserCommands,
    next: Arc<AtomicU64>,
    request_id: Arc<str>,
}

impl Registrations {
    /// Begins a log in a scratch database.
    pub(super) async fn open(scratch: &Scratch) -> Result<Self, BenchError> {
        let ambient = Ambient::system();
        let database = Database::connect(scratch.settings()).await?;
        let store = EventStore::open(database.log, MasterKey::generate(&ambient), ambient.clone()).await?;
        let sources = Sources { events: store.clone(), rows: database.rows, leases: database.leases };
        let newcomers = Newcomers {
            request_id: ambient.uuid().hyphenated().to_string().into(),
            users: UserCommands::new(store.clone(), ambient),
            next: Arc::default(),
        };
        Ok(Self { store, sources, tiles: database.tiles, newcomers })
    }

    /// What projections of the log work on.
    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Where tiles of the log are kept.
    pub(super) fn tiles(&self) -> Arc<dyn TileStore> {
        Arc::clone(&self.tiles)
    }

    /// All that is in the log.
    pub(super) async fn all(&self) -> Result<Written, BenchError> {
        Ok(Written { after: Position::START, until: self.store.head().await?.position })
    }

    /// Registers so many, or as many as there is time for.
    pub(super) async fn fill(&self, count: u64, slice: &Slice) -> Result<(), BenchError> {
        let mut clients = JoinSet::new();
        for client in 0..FILLING {
            let (newcomers, slice) = (self.newcomers.clone(), slice.clone());
            clients.spawn(async move {
                for _ in (client..count).step_by(usize::try_from(FILLING).unwrap_or(1)) {
                    slice.check()?;
                    newcomers.register(newcomers.next()?).await?;
                    // One at least.
                    if slice.is_over() {
                        break;
                    }
                }
                Ok::<_, BenchError>(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done.map_err(|stopped| BenchError::Void(stopped.to_string()))??;
        }
        Ok(())
    }

    /// Registers one, and says where it stands in the log.
    pub(super) async fn one(&self) -> Result<Position, BenchError> {
        self.newcomers.register(self.newcomers.next()?).await
    }

    /// Registers one after the other; gives what that wrote and how long each took.
    pub(super) async fn one_by_one(&self, slice: &Slice) -> Result<(Written, Vec<Duration>), BenchError> {
        let after = self.store.head().await?.position;
        let mut took = Vec::new();
        while !slice.is_over() || took.is_empty() {
            let newcomer = self.newcomers.next()?;
            let begun = Instant::now();
            self.newcomers.register(newcomer).await?;
            took.push(begun.elapsed());
        }
        Ok((self.written(after, slice).await?, took))
    }

    /// Keeps `many` registrations under way; gives what they wrote and how many there were a second.
    pub(super) async fn in_flight(&self, many: usize, slice: &Slice) -> Result<(Written, f64), BenchError> {
        let after = self.store.head().await?.position;
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..many {
            let (newcomers, slice) = (self.newcomers.clone(), slice.clone());
            clients.spawn(async move {
                // One at least, so that even the shortest slice measures something.
                let mut registered = 0_u32;
                while registered == 0 || !slice.is_over() {
                    newcomers.register(newcomers.next()?).await?;
                    registered += 1;
                }
                Ok::<_, BenchError>(registered)
            });
        }
        let mut registered = 0;
        while let Some(done) = clients.join_next().await {
            registered += done.map_err(|stopped| BenchError::Void(stopped.to_string()))??;
        }
        // Until the last answer, so that none of what is counted was done outside of what is timed.
        let rate = f64::from(registered) / begun.elapsed().as_secs_f64();
        Ok((self.written(after, slice).await?, rate))
    }

    /// Ends the log; it stays in its database.
    pub(super) async fn close(self) {
        self.store.close().await;
    }

    async fn written(&self, after: Position, slice: &Slice) -> Result<Written, BenchError> {
        slice.check()?;
        Ok(Written { after, until: self.store.head().await?.position })
    }
}

impl Newcomers {
    fn next(&self) -> Result<SignUp, BenchError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfit = |fault: String| BenchError::Void(format!("newcomer {number} is unfit: {fault}"));
        Ok(SignUp {
            email: EmailAddress::parse(&format!("newcomer-{number}@example.com"))
                .map_err(|fault| unfit(fault.to_string()))?,
            username: Username::parse(&format!("Newcomer {number}"))
                .map_err(|fault| unfit(fault.to_string()))?,
            password_hash: PasswordHash::recorded(HASH),
        })
    }

    async fn register(&self, newcomer: SignUp) -> Result<Position, BenchError> {
        let state = self.users.sign_up(&self.request_id, None, newcomer).await?;
        state.position.ok_or_else(|| BenchError::Void("a registration has no position".to_owned()))
    }
}
