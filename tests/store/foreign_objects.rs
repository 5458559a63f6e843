//! Objects of other programs on MongoDB: what rejects, deletes or replaces documents is refused and named,
//! and an operator's own index is not.

use mongodb::Client;
use mongodb::bson::{Document, doc};
use store::{Column, ColumnKind, Env, EventStore, MasterKey, RefusalReason, StoreError, Table, TableSchema};

use crate::support::MongoFixture;

static THINGS: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "email", kind: ColumnKind::Text },
    ],
    indexes: &["email"],
};

/// Opens the log as a process that is started; the error is why it refuses to.
async fn start(mongo: &MongoFixture) -> Result<(), StoreError> {
    let handle = mongo.handle("started").await;
    // Another master key is refused too, but later.
    let opened = EventStore::open(handle.log, MasterKey::generate(&Env::system()), Env::system()).await;
    match opened {
        Err(StoreError::KeyMissing(_)) => Ok(()),
        opened => opened.map(drop),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_views_validators_and_indexes_are_refused_and_named() {
    let index = |collection: &str, index: Document| doc! { "createIndexes": collection, "indexes": [index] };
    let unique = doc! { "key": { "id": 1 }, "name": "hers", "unique": true };
    let expiring = doc! { "key": { "since": 1 }, "name": "hers", "expireAfterSeconds": 1 };
    let validator = doc! { "roles": { "$ne": "x" } };
    let foreign = [
        (doc! { "create": "things_2", "viewOn": "things_1", "pipeline": [] }, "`things_2`"),
        (
            doc! { "collMod": "things_1", "validator": validator },
            "the validator of the collection `things_1`",
        ),
        (index("events", unique), "the unique index `hers` of the collection `events`"),
        (index("vault", expiring), "the TTL index `hers` of the collection `vault`"),
    ];
    for (change, named) in foreign {
        let mongo = MongoFixture::shared().await;
        let process = mongo.process("first").await;
        let table = Table::of("things", 1, &THINGS);
        process.rows().prepare(&table).await.unwrap();
        process.rows().index(&table).await.unwrap();
        let raw = Client::with_uri_str(&mongo.url).await.unwrap().database(&mongo.database);
        raw.run_command(index("events", doc! { "key": { "request_id": 1 }, "name": "harmless" }))
            .await
            .unwrap();
        start(&mongo).await.expect("its own schema, and a harmless index");
        raw.run_command(change.clone()).await.unwrap();
        let refused = start(&mongo).await;
        let Err(StoreError::Refused(refusal @ RefusalReason::ForeignObject { .. })) = refused else {
            panic!("{change}: {refused:?}");
        };
        assert!(refusal.to_string().contains(named), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_index_of_sessions_is_dropped_unless_a_transaction_holds_it_up() {
    let mongo = MongoFixture::shared().await;
    mongo.process("first").await;
    let client = Client::with_uri_str(&mongo.url).await.unwrap();
    let raw = client.database(&mongo.database);
    let sessions = raw.collection::<Document>("sessions");
    let earlier =
        doc! { "createIndexes": "sessions", "indexes": [{ "key": { "stream": 1 }, "name": "stream_1" }] };
    raw.run_command(earlier).await.unwrap();
    let has_earlier =
        async || sessions.list_index_names().await.unwrap().iter().any(|name| name == "stream_1");
    // As a killed process leaves one behind.
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    sessions.find_one(doc! {}).session(&mut session).await.unwrap();
    start(&mongo).await.expect("a start does not wait for the transaction");
    assert!(has_earlier().await);
    session.abort_transaction().await.unwrap();
    start(&mongo).await.unwrap();
    assert!(!has_earlier().await);
}
