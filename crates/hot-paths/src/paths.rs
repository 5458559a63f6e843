//! The hot paths: what requests and projectors do most often, each a function that repeats it.

use std::hint::black_box;

use domain::{EmailAddress, Username};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, ready};
use projections::{Users, catch_up};
use serde_json::Value;
use store::canonical::canonical_event;
use store::merkle::leaf_hash;
use store::{EventQuery, StreamId};
use tokio::runtime::Builder;

use crate::error::HotPathError;
use crate::world::{World, registered};

/// Users registered together, of whom others are looked up.
const BATCH: u32 = 64;

/// Hash tables are seeded at random, so counts vary by parts of a per cent.
pub(crate) const TOLERANCE_PER_CENT: f64 = 2.0;
/// Projectors also yield, and choose the size of their batches, by how long their work takes.
const PROJECTOR_TOLERANCE_PER_CENT: f64 = 5.0;

pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// How often it is repeated at least while it is counted.
    pub(crate) repetitions: u32,
    pub(crate) tolerance_per_cent: f64,
    run: Run,
}

pub(crate) const PATHS: [Path; 7] = [
    Path::new("parse_sign_up", 300, |count| ready(parse_sign_ups(count)).boxed_local()),
    Path::new("encode_registration", 300, |count| ready(encode(count)).boxed_local()),
    // In batches: encryption, claims, commit plan, leaves and signed head, and the store in memory.
    Path::new("append_in_batch", 4 * BATCH, |count| append(count).boxed_local()),
    Path::new("canonical_form_and_leaf", 300, |count| leaves(count).boxed_local()),
    Path::new("read_and_decode_stream", 200, |count| read(count).boxed_local()),
    // Read, decrypted, folded, authenticated, and written to the store in memory.
    Path {
        tolerance_per_cent: PROJECTOR_TOLERANCE_PER_CENT,
        ..Path::new("project_registration", 4 * BATCH, |count| project(count).boxed_local())
    },
    Path::new("find_authenticated_row", 200, |count| find(count).boxed_local()),
];

type Run = fn(u32) -> LocalBoxFuture<'static, Result<(), HotPathError>>;

impl Path {
    const fn new(name: &'static str, repetitions: u32, run: Run) -> Self {
        Self { name, repetitions, tolerance_per_cent: TOLERANCE_PER_CENT, run }
    }
}

/// Runs a path in one thread, so that runs do not differ in who waits for whom.
pub(crate) fn run(name: &str, count: u32) -> Result<(), HotPathError> {
    let path = PATHS.into_iter().find(|path| path.name == name);
    let path = path.ok_or_else(|| HotPathError::path(format!("there is no path {name}")))?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(HotPathError::path)?;
    runtime.block_on((path.run)(count))
}

/// The body of a sign-up, and the values in it.
fn parse_sign_ups(count: u32) -> Result<(), HotPathError> {
    for number in 0..count {
        let body = format!(
            r#"{{"email":"Ada.Lovelace-{number}@example.com","username":"Ada Lovelace {number}","password":"a violin"}}"#
        );
        let body: Value = serde_json::from_str(&body).map_err(HotPathError::path)?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let email = EmailAddress::parse(text("email")).map_err(HotPathError::path)?;
        let username = Username::parse(text("username")).map_err(HotPathError::path)?;
        black_box((email, username));
    }
    Ok(())
}

/// The decision, its events as they are stored, and the claims.
fn encode(count: u32) -> Result<(), HotPathError> {
    for number in 0..count {
        for event in registered(number)? {
            black_box((event.encode(), event_codec::claims_taken(&event).collect::<Vec<_>>()));
        }
    }
    Ok(())
}

async fn append(count: u32) -> Result<(), HotPathError> {
    let world = World::new().await?;
    for batch in 0..count / BATCH {
        world.register(batch * BATCH, BATCH).await?;
    }
    Ok(())
}

async fn leaves(count: u32) -> Result<(), HotPathError> {
    let world = World::new().await?;
    world.register(0, 1).await?;
    let events = world.context.events.read_sealed(&EventQuery { limit: 1, ..EventQuery::default() }).await?;
    let event = events.first().ok_or_else(|| HotPathError::path("the log is empty"))?;
    for _ in 0..count {
        black_box(leaf_hash(&canonical_event(black_box(event)).map_err(HotPathError::path)?));
    }
    Ok(())
}

async fn read(count: u32) -> Result<(), HotPathError> {
    let world = World::new().await?;
    let users = world.register(0, BATCH).await?;
    for (_, user) in (0..count).zip(users.iter().cycle()) {
        let stream = StreamId::new(user.stream()).map_err(HotPathError::path)?;
        for event in world.context.events.read_stream(&stream).await? {
            black_box(event_codec::decode_user_event(&event).map_err(HotPathError::path)?);
        }
    }
    Ok(())
}

async fn project(count: u32) -> Result<(), HotPathError> {
    // As many are registered for any count, so that only the projection makes a difference.
    const REGISTERED: u32 = 12 * BATCH;
    let world = World::new().await?;
    for batch in 0..REGISTERED / BATCH {
        world.register(batch * BATCH, BATCH).await?;
        if batch * BATCH < count {
            catch_up(&Users, &world.context).await.map_err(HotPathError::path)?;
        }
    }
    Ok(())
}

async fn find(count: u32) -> Result<(), HotPathError> {
    let world = World::new().await?;
    let users = world.register(0, BATCH).await?;
    catch_up(&Users, &world.context).await.map_err(HotPathError::path)?;
    let table = world.users_table();
    for (_, user) in (0..count).zip(users.iter().cycle()) {
        let found = world.context.rows.find(&table, table.key(), &user.to_string()).await?.rows.len();
        if found != 1 {
            return Err(HotPathError::path(format!("user {user} has {found} rows")));
        }
    }
    Ok(())
}
