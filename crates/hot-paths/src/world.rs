//! An event store in memory with users in it: the same in every run, with a clock that ticks and seeded random bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use domain::user::decide;
use domain::{EmailAddress, PasswordHash, User, UserCommand, UserEvent, UserId, Username};
use futures::future::try_join_all;
use jiff::Timestamp;
use projections::{Projection, ProjectionContext, Users, lifecycle};
use store::memory::Memory;
use store::{Append, Clock, Entropy, Env, EventStore, MasterKey};

use crate::error::HotPathError;

const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBhIGhhc2ghIQ";

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) context: ProjectionContext,
}

struct TickingClock(AtomicI64);

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        let milliseconds = self.0.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap_or_default()
    }
}

/// `SplitMix64`.
struct SeededEntropy(AtomicU64);

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        for chunk in bytes.chunks_mut(8) {
            let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            for (byte, random) in chunk.iter_mut().zip((mixed ^ (mixed >> 31)).to_le_bytes()) {
                *byte = random;
            }
        }
    }
}

impl World {
    pub(crate) async fn new() -> Result<Self, HotPathError> {
        let env =
            Env::new(Arc::new(TickingClock(AtomicI64::new(0))), Arc::new(SeededEntropy(AtomicU64::new(7))));
        let memory = Memory::default();
        let events =
            EventStore::open(Arc::new(memory.clone()), MasterKey::generate(&env), env.clone()).await?;
        let rows = events.authenticate_rows(Arc::new(memory.clone()));
        let context = ProjectionContext { events, rows, leases: Arc::new(memory) };
        lifecycle::open(&Users, &context, "hot-paths", env.now()).await?;
        Ok(Self { env, context })
    }

    /// Registers users with numbers from `first` in one batch; returns their ids.
    pub(crate) async fn register(&self, first: u32, count: u32) -> Result<Vec<UserId>, HotPathError> {
        let users: Vec<_> =
            (first..first + count).map(|number| (UserId::from_uuid(self.env.uuid()), number)).collect();
        let append = async |(id, number): &(UserId, u32)| {
            let events = registered(*number)?;
            let encoded = events.iter().map(UserEvent::encode);
            let mut write = event_codec::stream_write(&self.env, &id.stream(), 0, encoded)?;
            write.take = events.iter().flat_map(event_codec::claims_taken).collect();
            self.context.events.append(&Append::new(id.stream(), "hot-paths", vec![write])).await?;
            Ok::<_, HotPathError>(())
        };
        try_join_all(users.iter().map(append)).await?;
        Ok(users.into_iter().map(|(id, _)| id).collect())
    }

    pub(crate) fn users_table(&self) -> store::Table {
        let users: &dyn Projection = &Users;
        users.table(self.context.events.progress().live_version(Users.name()))
    }
}

/// What is decided about the sign-up of the user with that number.
pub(crate) fn registered(number: u32) -> Result<Vec<UserEvent>, HotPathError> {
    let command = UserCommand::Register {
        email: EmailAddress::parse(&format!("user-{number}@example.com")).map_err(HotPathError::path)?,
        username: Username::parse(&format!("User {number}")).map_err(HotPathError::path)?,
        password_hash: Some(PasswordHash::from_stored(PASSWORD_HASH)),
    };
    decide(&User::Absent, command).map_err(HotPathError::path)
}
