//! Two processes that append to one database for all they are worth.

use futures::StreamExt;
use futures::stream::iter;
use store::conformance::World;
use store::conformance::world::put;
use store::{EventStore, Expected, StreamWrite};
use tempfile::TempDir;

use crate::conformance::{Mongo, Sqlite};
use crate::support::assert_sound;

/// What each process appends.
const EACH: u64 = 10_000;
/// How many of its appends wait at a time.
const IN_FLIGHT: usize = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_append_of_either_fails_on_mongodb() {
    let mongo = Mongo(testkit::mongodb().await.database());
    append_from_both(&World::new(mongo)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_append_of_either_fails_on_sqlite() {
    append_from_both(&World::new(Sqlite(TempDir::new().unwrap()))).await;
}

async fn append_from_both(world: &World) {
    let (one, other) = (world.store().await, world.store().await);
    let (mut positions, more) = tokio::join!(append_all(world, &one), append_all(world, &other));
    positions.extend(more);
    positions.sort_unstable();
    assert!(positions.iter().copied().eq(1..=2 * EACH), "each append was told a position of its own");
    assert_eq!(assert_sound(&one).await.len(), positions.len());
}

async fn append_all(world: &World, store: &EventStore) -> Vec<u64> {
    let append = |_| async move {
        let write = StreamWrite::new(world.stream(), Expected::NoStream, vec![world.plain_event()]);
        put(store, [write]).await.expect("no append fails").position.get()
    };
    iter(0..EACH).map(append).buffer_unordered(IN_FLIGHT).collect().await
}
