//! A unique index rejects a write, and the store attributes the error to the wrong index: corruption is
//! reported as a conflict, so that callers retry forever, or a conflict is reported as corruption. (Occurrent
//! #297: the duplicate version of a stream was reported as a duplicate event; Emmett maps no such error.)
//!
//! The store detects conflicts by reading inside the transaction, so a duplicate key error can only mean that
//! another program has written to the database. These tests insert foreign entries where the reads do not
//! find them. For the index of streams and versions this is impossible: the reads find every entry and trust
//! it. In the key store an impossible key is found before it conflicts.

use mongodb::Client;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use rusqlite::Connection;
use store::conformance::harness::append_writes;
use store::conformance::{BackendHandle, Harness};
use store::{AppendError, EventStore, ExpectedVersion, StoreError, StreamWrite};
use store_sqlite::SqliteStore;
use tempfile::TempDir;

use crate::support::{MongoFixture, Process};

const EMAIL: &str = "ada@example.com";

/// Asserts that an append fails as corruption of that code, with a message that names the location, and
/// changes nothing.
async fn assert_corrupt(store: &EventStore, code: &str, place: &[&str], write: StreamWrite) {
    let before = store.head().await.unwrap();
    let refused = append_writes(store, [write]).await;
    let Err(AppendError::Store(StoreError::Corrupt(corruption))) = &refused else {
        panic!("{place:?}: {refused:?}")
    };
    let why = corruption.to_string();
    assert_eq!(corruption.code(), code, "{why}");
    assert!(place.iter().all(|part| why.contains(part)), "{place:?} is not named: {why}");
    assert!(!why.contains(EMAIL), "{why}");
    assert_eq!(store.head().await.unwrap(), before, "{place:?}");
}

/// Asserts that appends succeed again after the foreign entry is removed.
async fn assert_appends_succeed(harness: &Harness, store: &EventStore) {
    append_writes(store, [harness.write(&harness.new_stream(), ExpectedVersion::NoStream)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_reports_corruption_not_conflict() {
    let mongo = MongoFixture::shared().await;
    let Process { store, .. } = mongo.process("aegis").await;
    let harness = &mongo.harness;
    let raw = Client::with_uri_str(&mongo.url).await.unwrap().database(&mongo.database);
    let collection = |name: &str| raw.collection::<Document>(name);
    let owner = harness.new_stream();
    append_writes(&store, [harness.write_claiming_email(&owner, EMAIL)]).await.unwrap();

    // The next position is taken.
    collection("events").insert_one(doc! { "_id": 2_i64 }).await.unwrap();
    let write = harness.write(&harness.new_stream(), ExpectedVersion::NoStream);
    assert_corrupt(&store, "unique_index_violation", &["_id", &mongo.namespace("events")], write).await;
    collection("events").delete_one(doc! { "_id": 2_i64 }).await.unwrap();
    assert_appends_succeed(harness, &store).await;

    // A stream without events has a key.
    let stream = harness.new_stream();
    let key = Binary { subtype: BinarySubtype::Generic, bytes: b"foreign".to_vec() };
    collection("vault").insert_one(doc! { "_id": stream.as_str(), "key": key }).await.unwrap();
    let write = harness.write(&stream, ExpectedVersion::NoStream);
    assert_corrupt(&store, "key_without_events", &[stream.as_str()], write).await;
    collection("vault").delete_one(doc! { "_id": stream.as_str() }).await.unwrap();
    assert_appends_succeed(harness, &store).await;

    // A tombstone holds a claim, which it must not.
    let entry = doc! { "_id": owner.as_str() };
    let erased = doc! { "$set": { "erased": true } };
    collection("vault").update_one(entry.clone(), erased).await.unwrap();
    let write = harness.write_claiming_email(&harness.new_stream(), EMAIL);
    assert_corrupt(&store, "unique_index_violation", &["claims", &mongo.namespace("vault")], write).await;
    collection("vault").update_one(entry, doc! { "$unset": { "erased": 1 } }).await.unwrap();
    let taken = append_writes(&store, [harness.write_claiming_email(&harness.new_stream(), EMAIL)]).await;
    assert!(matches!(taken, Err(AppendError::ClaimTaken { kind: "email" })), "{taken:?}");
    assert_appends_succeed(harness, &store).await;

    // A version of another type, which only another program can have written, is not a conflict.
    let foreign = doc! { "_id": 99_i64, "stream": owner.as_str(), "version": 2.0 };
    collection("events").insert_one(foreign).await.unwrap();
    let write = harness.write(&owner, ExpectedVersion::Exactly(1));
    assert_corrupt(&store, "invalid_field", &["version"], write).await;
    collection("events").delete_one(doc! { "_id": 99_i64 }).await.unwrap();
    append_writes(&store, [harness.write(&owner, ExpectedVersion::Exactly(1))]).await.unwrap();
}

struct SqliteFixture(TempDir);

#[async_trait::async_trait]
impl store::conformance::Fixture for SqliteFixture {
    async fn open(&self) -> BackendHandle {
        BackendHandle::new(SqliteStore::open(&self.0.path().join("aegis.db")).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_reports_corruption_not_conflict() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("aegis.db");
    let harness = Harness::new(SqliteFixture(folder));
    let store = harness.open_store().await;
    let owner = harness.new_stream();
    append_writes(&store, [harness.write_claiming_email(&owner, EMAIL)]).await.unwrap();
    // A new connection each time: an open transaction would block the writer.
    let run = |sql: &str, stream: &str| Connection::open(&file).unwrap().execute(sql, [stream]).unwrap();

    // The next position is taken.
    let foreign = "INSERT INTO events SELECT 2, id, ?1, version, type, schema, at, actor, request_id, data, sealed, leaf
        FROM events WHERE position = 1";
    run(foreign, "user-foreign");
    let write = harness.write(&harness.new_stream(), ExpectedVersion::NoStream);
    assert_corrupt(&store, "unique_index_violation", &["events.position"], write).await;
    let raw = Connection::open(&file).unwrap();
    raw.execute_batch("DROP TRIGGER events_are_never_deleted; DELETE FROM events WHERE position = 2")
        .unwrap();
    drop(raw);
    assert_appends_succeed(&harness, &store).await;

    // A stream without events has a key.
    let stream = harness.new_stream();
    run("INSERT INTO vault (stream, key, erased) VALUES (?1, x'00', 0)", stream.as_str());
    let write = harness.write(&stream, ExpectedVersion::NoStream);
    assert_corrupt(&store, "key_without_events", &[stream.as_str()], write).await;
    run("DELETE FROM vault WHERE stream = ?1", stream.as_str());
    assert_appends_succeed(&harness, &store).await;

    // A taken claim and a version conflict are still reported as such.
    let taken = append_writes(&store, [harness.write_claiming_email(&harness.new_stream(), EMAIL)]).await;
    assert!(matches!(taken, Err(AppendError::ClaimTaken { kind: "email" })), "{taken:?}");
    let stale = append_writes(&store, [harness.write(&owner, ExpectedVersion::NoStream)]).await;
    assert!(matches!(stale, Err(AppendError::Conflict { actual: 1, .. })), "{stale:?}");
}
