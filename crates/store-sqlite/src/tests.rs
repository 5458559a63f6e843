//! Tests of SQLite specifics. The conformance suite tests the guarantees of every backend.

mod failure_recovery;
mod foreign_objects;
mod idempotency;
mod migration;
mod multi_process;
mod opening;
mod read_models;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use store::{
    Append, AppendError, Appended, Backend, Claim, Env, EventStore, ExpectedVersion, MasterKey, NewEvent,
    StreamId, StreamWrite,
};
use tempfile::TempDir;

use crate::SqliteStore;

/// A database in a temporary folder.
struct Database {
    folder: TempDir,
    master: MasterKey,
}

impl Database {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), master: MasterKey::generate(&Env::system()) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("aegis.sqlite")
    }

    /// Opens the database once more, as another process would.
    async fn open(&self) -> (Arc<SqliteStore>, EventStore) {
        let sqlite = Arc::new(SqliteStore::open(&self.path()).unwrap());
        let backend: Arc<dyn Backend> = sqlite.clone();
        let log = EventStore::open(backend, self.master.clone(), Env::system()).await.unwrap();
        (sqlite, log)
    }

    /// A plain SQLite connection to the file.
    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

fn stream(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

/// A new stream with a claim and one event with personal data.
fn registration(name: &str) -> Append {
    let event = NewEvent {
        id: Env::system().uuid(),
        event_type: "UserRegistered".to_owned(),
        schema: 1,
        data: object(json!({"roles": ["user"], "n": 1})),
        personal: object(json!({"email": format!("{name}@example.com")})),
    };
    let mut write = StreamWrite::new(stream(name), ExpectedVersion::NoStream, vec![event]);
    write.take = vec![Claim { kind: "email", value: format!("{name}@example.com") }];
    Append::new(format!("operator:{name}"), "request", vec![write])
}

async fn register(log: &EventStore, name: &str) -> Result<Appended, AppendError> {
    log.append(&registration(name)).await
}

/// Whether any file of the database contains these bytes.
fn on_disk(folder: &Path, bytes: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.into_iter().any(|file| file.windows(bytes.len()).any(|window| window == bytes))
}
