//! A unique index refuses a write, and the store takes it for the one index it had in mind: damage is called a conflict,
//! so that callers try again forever, or a lost race is called damage. (Occurrent #297: the duplicate version of a stream
//! was taken for a duplicate event; Emmett maps none at all.)
//!
//! What races is found out by reading inside the transaction, so a refusal by an index can only mean that something else
//! has written to the database. Foreign entries are planted here where no reading finds them. The index of streams and
//! versions has no such place: what stands there is found, and believed. Nor has the vault: a key that cannot be there is
//! found before it is in the way.

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

/// An append is refused as damage, in words that name the place; nothing of it happens.
async fn assert_corrupt(store: &EventStore, place: &[&str], write: StreamWrite) {
    let before = store.head().await.unwrap();
    let refused = append_writes(store, [write]).await;
    let Err(AppendError::Store(StoreError::Corrupt(why))) = &refused else {
        panic!("{place:?}: {refused:?}")
    };
    assert!(place.iter().all(|part| why.contains(part)), "{place:?} is not named: {why}");
    assert!(!why.contains(EMAIL), "{why}");
    assert_eq!(store.head().await.unwrap(), before, "{place:?}");
}

/// What was said to be damaged was damaged, and nothing else was: without the foreign entry it goes on.
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
    assert_corrupt(&store, &["_id", &mongo.namespace("events")], write).await;
    collection("events").delete_one(doc! { "_id": 2_i64 }).await.unwrap();
    assert_appends_succeed(harness, &store).await;

    // A stream without events has a key.
    let stream = harness.new_stream();
    let key = Binary { subtype: BinarySubtype::Generic, bytes: b"foreign".to_vec() };
    collection("vault").insert_one(doc! { "_id": stream.as_str(), "key": key }).await.unwrap();
    let write = harness.write(&stream, ExpectedVersion::NoStream);
    assert_corrupt(&store, &["vault", stream.as_str(), "no events"], write).await;
    collection("vault").delete_one(doc! { "_id": stream.as_str() }).await.unwrap();
    assert_appends_succeed(harness, &store).await;

    // A tombstone, which holds no claims, holds one.
    let entry = doc! { "_id": owner.as_str() };
    let erased = doc! { "$set": { "erased": true } };
    collection("vault").update_one(entry.clone(), erased).await.unwrap();
    let write = harness.write_claiming_email(&harness.new_stream(), EMAIL);
    assert_corrupt(&store, &["claims", &mongo.namespace("vault")], write).await;
    collection("vault").update_one(entry, doc! { "$unset": { "erased": 1 } }).await.unwrap();
    let taken = append_writes(&store, [harness.write_claiming_email(&harness.new_stream(), EMAIL)]).await;
    assert!(matches!(taken, Err(AppendError::ClaimTaken { kind: "email" })), "{taken:?}");
    assert_appends_succeed(harness, &store).await;

    // A version that is none of ours: whoever wrote it, it is not a race.
    let foreign = doc! { "_id": 99_i64, "stream": owner.as_str(), "version": 2.0 };
    collection("events").insert_one(foreign).await.unwrap();
    let write = harness.write(&owner, ExpectedVersion::Exactly(1));
    assert_corrupt(&store, &["version"], write).await;
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
    // Opened and closed again each time: the writer would wait for a connection that keeps a transaction open.
    let run = |sql: &str, stream: &str| Connection::open(&file).unwrap().execute(sql, [stream]).unwrap();

    // The next position is taken.
    let foreign = "INSERT INTO events SELECT 2, id, ?1, version, type, schema, at, actor, request_id, data, sealed, leaf
        FROM events WHERE position = 1";
    run(foreign, "user-foreign");
    let write = harness.write(&harness.new_stream(), ExpectedVersion::NoStream);
    assert_corrupt(&store, &["events.position"], write).await;
    let raw = Connection::open(&file).unwrap();
    raw.execute_batch("DROP TRIGGER events_are_never_deleted; DELETE FROM events WHERE position = 2")
        .unwrap();
    drop(raw);
    assert_appends_succeed(&harness, &store).await;

    // A stream without events has a key.
    let stream = harness.new_stream();
    run("INSERT INTO vault (stream, key, erased) VALUES (?1, x'00', 0)", stream.as_str());
    let write = harness.write(&stream, ExpectedVersion::NoStream);
    assert_corrupt(&store, &["vault", stream.as_str()], write).await;
    run("DELETE FROM vault WHERE stream = ?1", stream.as_str());
    assert_appends_succeed(&harness, &store).await;

    // Beside all that a taken claim is a taken claim, and a lost race a lost race.
    let taken = append_writes(&store, [harness.write_claiming_email(&harness.new_stream(), EMAIL)]).await;
    assert!(matches!(taken, Err(AppendError::ClaimTaken { kind: "email" })), "{taken:?}");
    let stale = append_writes(&store, [harness.write(&owner, ExpectedVersion::NoStream)]).await;
    assert!(matches!(stale, Err(AppendError::Conflict { actual: 1, .. })), "{stale:?}");
}
