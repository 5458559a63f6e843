//! Load test: two processes append to one database at full speed.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::iter;
use serde_json::Map;
use store::{Append, Backend, Env, EventStore, ExpectedVersion, MasterKey, NewEvent, StreamId, StreamWrite};
use store_mongo::MongoStore;
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::assert_log_consistent;

/// Number of appends of each process.
const APPENDS_PER_PROCESS: u64 = 10_000;
/// Number of concurrent appends of each process.
const IN_FLIGHT: usize = 256;
/// The master key of both processes.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// Passes the database to the second process: a file, or the URL and the name of a MongoDB database.
const TARGET_VARIABLE: &str = "AEGIS_TEST_APPEND_TO";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_two_processes_append_without_failure() {
    let database = testkit::shared_mongodb().await.database();
    append_from_both(&format!("{} {}", database.url(), database.name())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_two_processes_append_without_failure() {
    let folder = TempDir::new().unwrap();
    append_from_both(folder.path().join("aegis.db").to_str().unwrap()).await;
}

async fn append_from_both(database: &str) {
    let store = open(database).await;
    // The second process is this executable, which runs only the ignored test below.
    let mut other = Command::new(std::env::current_exe().unwrap());
    let alone = ["--exact", "concurrent_processes::second_process", "--ignored", "--nocapture"];
    let other = other.args(alone).env(TARGET_VARIABLE, database).stdin(Stdio::null()).kill_on_drop(true);
    let (mut positions, other) = tokio::join!(append_all(&store), other.output());
    let other = other.unwrap();
    assert!(other.status.success(), "the other process: {other:?}");
    let more = String::from_utf8(other.stdout).unwrap();
    let more = more.lines().filter_map(|line| line.strip_prefix("appended at "));
    positions.extend(more.map(|position| position.parse::<u64>().unwrap()));
    positions.sort_unstable();
    assert!(positions.iter().copied().eq(1..=2 * APPENDS_PER_PROCESS), "every append has its own position");
    assert_eq!(assert_log_consistent(&store).await.len(), positions.len());
}

#[ignore = "second process of the tests above"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "the parent passes the database in an environment variable")]
async fn second_process() {
    let database = std::env::var(TARGET_VARIABLE).expect("the parent sets the variable");
    let positions: Vec<_> = append_all(&open(&database).await).await;
    for position in positions {
        println!("appended at {position}");
    }
}

async fn open(database: &str) -> EventStore {
    let backend: Arc<dyn Backend> = match database.split_once(' ') {
        Some((url, name)) => Arc::new(MongoStore::new(url, name).await.unwrap()),
        None => Arc::new(SqliteStore::open(Path::new(database)).unwrap()),
    };
    EventStore::open(backend, MasterKey::from_base64(KEY).unwrap(), Env::system()).await.unwrap()
}

async fn append_all(store: &EventStore) -> Vec<u64> {
    let env = Env::system();
    let append = |_| {
        let event = NewEvent {
            id: env.uuid(),
            event_type: "Happened".to_owned(),
            schema: 1,
            data: Map::new(),
            personal: Map::new(),
        };
        let stream = StreamId::new(format!("user-{}", env.uuid())).unwrap();
        let write = StreamWrite::new(stream, ExpectedVersion::NoStream, vec![event]);
        async move {
            let append = Append::new("system", "test", vec![write]);
            store.append(&append).await.expect("no append fails").position.get()
        }
    };
    iter(0..APPENDS_PER_PROCESS).map(append).buffer_unordered(IN_FLIGHT).collect().await
}
