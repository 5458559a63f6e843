//! `aegis events verify`: an honest log passes, whoever tampers is found, and where.

use mongodb::Client;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::sign_up;
use crate::support::{Installation, Store, on_both_stores};

on_both_stores! {
    an_honest_log_verifies_also_beside_a_service
    whoever_tampers_is_found_and_where
    a_head_of_an_earlier_day_is_found
    a_log_without_its_end_is_not_waited_for
}

/// A way to change a database past the service.
struct Tampering {
    /// What is done.
    what: &'static str,
    /// Statements; the first changes something.
    sqlite: &'static [&'static str],
    collection: &'static str,
    /// Given the stream of the event at position 2.
    filter: fn(&str) -> Document,
    /// An update, which may make the document; empty: it is removed.
    update: fn() -> Document,
    /// The position that is named.
    position: u64,
    /// A word of what is said.
    said: &'static str,
}

const TAMPERINGS: [Tampering; 15] = [
    Tampering {
        what: "another actor",
        sqlite: &["UPDATE events SET actor = 'user-eve' WHERE position = 3"],
        collection: "events",
        filter: |_| doc! { "_id": 3 },
        update: || doc! { "$set": { "actor": "user-eve" } },
        position: 3,
        said: "its leaf",
    },
    Tampering {
        what: "another sealed part",
        sqlite: &[
            "UPDATE events SET sealed = (SELECT sealed FROM events WHERE position = 1) WHERE position = 2",
        ],
        collection: "events",
        filter: |_| doc! { "_id": 2 },
        update: || doc! { "$unset": { "sealed": "" } },
        position: 2,
        said: "its leaf",
    },
    Tampering {
        what: "an event removed",
        sqlite: &["DELETE FROM events WHERE position = 4"],
        collection: "events",
        filter: |_| doc! { "_id": 4 },
        update: || doc! {},
        position: 4,
        said: "is missing",
    },
    Tampering {
        what: "the last event removed",
        sqlite: &["DELETE FROM events WHERE position = 6"],
        collection: "events",
        filter: |_| doc! { "_id": 6 },
        update: || doc! {},
        position: 6,
        said: "is missing",
    },
    Tampering {
        what: "the head put back",
        sqlite: &["UPDATE head SET root = zeroblob(32)"],
        collection: "head",
        filter: |_| doc! {},
        update: || doc! { "$set": { "note": "none" } },
        position: 6,
        said: "in the head",
    },
    Tampering {
        what: "an event set back in time",
        sqlite: &["UPDATE events SET at = 1 WHERE position = 5"],
        collection: "events",
        filter: |_| doc! { "_id": 5 },
        update: || doc! { "$set": { "at": mongodb::bson::DateTime::from_millis(1) } },
        position: 5,
        said: "its time",
    },
    Tampering {
        what: "claims taken away",
        sqlite: &["DELETE FROM claims WHERE stream = (SELECT stream FROM events WHERE position = 2)"],
        collection: "vault",
        filter: |stream| doc! { "_id": stream },
        update: || doc! { "$unset": { "claims": "" } },
        position: 2,
        said: "lacks 2 of the claims",
    },
    Tampering {
        what: "a claim too much",
        sqlite: &["INSERT INTO claims SELECT randomblob(32), stream FROM events WHERE position = 2"],
        collection: "vault",
        filter: |stream| doc! { "_id": stream },
        update: || doc! { "$push": { "claims": bytes(32) } },
        position: 2,
        said: "holds 1 others",
    },
    Tampering {
        what: "a leaf cut short",
        sqlite: &["UPDATE events SET leaf = x'00' WHERE position = 3"],
        collection: "events",
        filter: |_| doc! { "_id": 3 },
        update: || doc! { "$set": { "leaf": bytes(1) } },
        position: 3,
        said: "`leaf`",
    },
    Tampering {
        what: "data that is none",
        sqlite: &["UPDATE events SET data = '{' WHERE position = 5"],
        collection: "events",
        filter: |_| doc! { "_id": 5 },
        update: || doc! { "$set": { "data": 1.5 } },
        position: 5,
        said: "`data`",
    },
    Tampering {
        what: "a head that is none",
        sqlite: &["UPDATE head SET frontier = x'00'"],
        collection: "head",
        filter: |_| doc! {},
        update: || doc! { "$set": { "frontier": bytes(1) } },
        position: 0,
        said: "frontier",
    },
    Tampering {
        what: "another key",
        sqlite: &[
            "UPDATE vault SET key = (SELECT key FROM vault JOIN events USING (stream) WHERE position = 1)
            WHERE stream = (SELECT stream FROM events WHERE position = 2)",
        ],
        collection: "vault",
        filter: |stream| doc! { "_id": stream },
        update: || doc! { "$set": { "key": bytes(64) } },
        position: 2,
        said: "the key of stream",
    },
    Tampering {
        what: "a key destroyed",
        sqlite: &[
            "UPDATE vault SET key = NULL, erased = 1 WHERE stream = (SELECT stream FROM events WHERE position = 2)",
            "DELETE FROM claims WHERE stream = (SELECT stream FROM events WHERE position = 2)",
        ],
        collection: "vault",
        filter: |stream| doc! { "_id": stream },
        update: || doc! { "$set": { "erased": true }, "$unset": { "key": "", "claims": "" } },
        position: 2,
        said: "lost its key",
    },
    Tampering {
        what: "a stranger in the vault",
        sqlite: &["INSERT INTO vault (stream, key, erased) VALUES ('user-nobody', x'00', 0)"],
        collection: "vault",
        filter: |_| doc! { "_id": "user-nobody" },
        update: || doc! { "$set": { "key": bytes(1) } },
        position: 0,
        said: "has no event",
    },
    Tampering {
        what: "a read model ahead of the log",
        sqlite: &["UPDATE checkpoints SET position = 99 WHERE name = 'users_1'"],
        collection: "checkpoints",
        filter: |_| doc! { "_id": "users_1" },
        update: || doc! { "$set": { "position": 99_i64 } },
        position: 99,
        said: "users_1",
    },
];

impl Tampering {
    async fn on(&self, store: &Store) {
        let Some((url, name)) = store.mongo_address() else {
            let connection = Connection::open(store.file()).unwrap();
            let triggers = ["events_are_never_changed", "events_are_never_deleted"];
            for trigger in triggers {
                connection.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
            }
            for statement in self.sqlite {
                assert!(connection.execute(statement, []).unwrap() > 0, "{}", self.what);
            }
            return;
        };
        let database = Client::with_uri_str(url).await.unwrap().database(name);
        let event = database.collection::<Document>("events").find_one(doc! { "_id": 2 }).await.unwrap();
        let filter = (self.filter)(event.unwrap().get_str("stream").unwrap());
        let collection = database.collection::<Document>(self.collection);
        let update = (self.update)();
        let changed = if update.is_empty() {
            collection.delete_one(filter).await.unwrap().deleted_count
        } else {
            let done = collection.update_one(filter, update).upsert(true).await.unwrap();
            done.modified_count + u64::from(done.upserted_id.is_some())
        };
        assert_eq!(changed, 1, "{}", self.what);
    }
}

fn bytes(count: usize) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: vec![7; count] }
}

/// An installation whose log has six events, of six users.
async fn six_events(store: Store) -> Installation {
    let installation = Installation::of(store);
    let service = installation.serve().await;
    for number in 0..6 {
        sign_up(service.client(), &format!("user{number}")).await;
    }
    service.kill();
    installation
}

async fn an_honest_log_verifies_also_beside_a_service(store: Store) {
    let installation = six_events(store).await;
    let service = installation.serve().await;
    let sign_ups = async {
        for number in 6..40 {
            sign_up(service.client(), &format!("user{number}")).await;
        }
    };
    let verifying = async {
        for _ in 0..3 {
            installation.done(&["events", "verify"]).await;
        }
    };
    tokio::join!(sign_ups, verifying);
    let report = installation.json(&["events", "verify"]).await.remove(0);
    assert_eq!(
        (&report["position"], &report["streams"], &report["claims"]),
        (&40.into(), &40.into(), &80.into())
    );
    assert_eq!(report["root"].as_str().map(str::len), Some(64));
}

async fn whoever_tampers_is_found_and_where(store: Store) {
    let is_sqlite = store.mongo_address().is_none();
    drop(store);
    for tampering in &TAMPERINGS {
        let store = if is_sqlite { Store::sqlite() } else { Store::mongo().await };
        let installation = six_events(store).await;
        tampering.on(installation.store()).await;
        let found = installation.run(&["events", "verify"]).await;
        assert_eq!(found.code, Some(3), "{}: {found:?}", tampering.what);
        let named = format!("position {}: ", tampering.position);
        assert!(found.stderr.contains(&named), "{}: {}", tampering.what, found.stderr);
        assert!(found.stderr.contains(tampering.said), "{}: {}", tampering.what, found.stderr);
    }
}

/// What is missing will never come: whoever rebuilds is told which event it is.
async fn a_log_without_its_end_is_not_waited_for(store: Store) {
    let installation = six_events(store).await;
    let removed = TAMPERINGS.iter().find(|tampering| tampering.what == "the last event removed").unwrap();
    removed.on(installation.store()).await;
    let rebuilt = installation.run(&["projections", "rebuild", "users"]).await;
    assert_eq!(rebuilt.code, Some(1), "{rebuilt:?}");
    assert!(rebuilt.stderr.contains("position 6 is missing from the log"), "{rebuilt:?}");
}

/// It is signed and fits the events up to it; but there are more.
async fn a_head_of_an_earlier_day_is_found(store: Store) {
    let installation = six_events(store).await;
    let earlier = Head::read(installation.store()).await;
    let service = installation.serve().await;
    sign_up(service.client(), "user6").await;
    service.kill();
    installation.done(&["events", "verify"]).await;
    earlier.put_back(installation.store()).await;
    let found = installation.run(&["events", "verify"]).await;
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(found.stderr.contains("position 7: it is beyond the head, which is at 6"), "{found:?}");
}

/// The head as it is stored.
enum Head {
    Sqlite(Vec<Value>),
    Mongo(Document),
}

impl Head {
    async fn read(store: &Store) -> Self {
        let Some((url, name)) = store.mongo_address() else {
            let connection = Connection::open(store.file()).unwrap();
            let values =
                connection.query_row("SELECT position, at, root, frontier, note FROM head", [], |row| {
                    (0..5).map(|column| row.get(column)).collect()
                });
            return Self::Sqlite(values.unwrap());
        };
        let heads = Client::with_uri_str(url).await.unwrap().database(name).collection("head");
        Self::Mongo(heads.find_one(doc! {}).await.unwrap().unwrap())
    }

    async fn put_back(self, store: &Store) {
        match self {
            Self::Sqlite(values) => {
                let sql = "UPDATE head SET position = ?1, at = ?2, root = ?3, frontier = ?4, note = ?5";
                let connection = Connection::open(store.file()).unwrap();
                assert_eq!(connection.execute(sql, params_from_iter(values)).unwrap(), 1);
            }
            Self::Mongo(head) => {
                let (url, name) = store.mongo_address().unwrap();
                let heads = Client::with_uri_str(url).await.unwrap().database(name).collection("head");
                assert_eq!(heads.replace_one(doc! {}, head).await.unwrap().modified_count, 1);
            }
        }
    }
}
