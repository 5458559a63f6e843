//! `aegis events verify`: an honest log passes, whoever tampers is found, and where.

use mongodb::Client;
use mongodb::bson::{Document, doc};
use rusqlite::Connection;

use super::sign_up;
use crate::support::{Installation, Store, on_both_stores};

on_both_stores! {
    an_honest_log_verifies_also_beside_a_service
    whoever_tampers_is_found_and_where
}

/// A way to change a database past the service.
struct Tampering {
    /// What is done.
    what: &'static str,
    sqlite: &'static str,
    collection: &'static str,
    filter: fn() -> Document,
    /// An update; empty: the document is removed.
    update: fn() -> Document,
    /// The position that is named.
    position: u64,
    /// A word of what is said.
    said: &'static str,
}

const TAMPERINGS: [Tampering; 9] = [
    Tampering {
        what: "another actor",
        sqlite: "UPDATE events SET actor = 'user-eve' WHERE position = 3",
        collection: "events",
        filter: || doc! { "_id": 3 },
        update: || doc! { "$set": { "actor": "user-eve" } },
        position: 3,
        said: "its leaf",
    },
    Tampering {
        what: "another sealed part",
        sqlite: "UPDATE events SET sealed = (SELECT sealed FROM events WHERE position = 1) WHERE position = 2",
        collection: "events",
        filter: || doc! { "_id": 2 },
        update: || doc! { "$unset": { "sealed": "" } },
        position: 2,
        said: "its leaf",
    },
    Tampering {
        what: "an event removed",
        sqlite: "DELETE FROM events WHERE position = 4",
        collection: "events",
        filter: || doc! { "_id": 4 },
        update: || doc! {},
        position: 4,
        said: "is missing",
    },
    Tampering {
        what: "the last event removed",
        sqlite: "DELETE FROM events WHERE position = 6",
        collection: "events",
        filter: || doc! { "_id": 6 },
        update: || doc! {},
        position: 6,
        said: "is missing",
    },
    Tampering {
        what: "the head put back",
        sqlite: "UPDATE head SET root = zeroblob(32)",
        collection: "head",
        filter: || doc! {},
        update: || doc! { "$set": { "note": "none" } },
        position: 6,
        said: "in the head",
    },
    Tampering {
        what: "an event set back in time",
        sqlite: "UPDATE events SET at = 1 WHERE position = 5",
        collection: "events",
        filter: || doc! { "_id": 5 },
        update: || doc! { "$set": { "at": mongodb::bson::DateTime::from_millis(1) } },
        position: 5,
        said: "its time",
    },
    Tampering {
        what: "claims taken away",
        sqlite: "DELETE FROM claims WHERE stream = (SELECT stream FROM events WHERE position = 2)",
        collection: "vault",
        filter: || doc! { "claims": { "$exists": true } },
        update: || doc! { "$unset": { "claims": "" } },
        position: 0,
        said: "lacks 2 of the claims",
    },
    Tampering {
        what: "a claim too much",
        sqlite: "INSERT INTO claims SELECT randomblob(32), stream FROM events WHERE position = 2",
        collection: "vault",
        filter: || doc! { "claims": { "$exists": true } },
        update: || {
            let claim = mongodb::bson::Binary {
                subtype: mongodb::bson::spec::BinarySubtype::Generic,
                bytes: vec![7; 32],
            };
            doc! { "$push": { "claims": claim } }
        },
        position: 0,
        said: "holds 1 others",
    },
    Tampering {
        what: "a read model ahead of the log",
        sqlite: "UPDATE projections SET position = 99 WHERE name = 'users_1'",
        collection: "projections",
        filter: || doc! { "_id": "users_1" },
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
            assert!(connection.execute(self.sqlite, []).unwrap() > 0, "{}", self.what);
            return;
        };
        let collection =
            Client::with_uri_str(url).await.unwrap().database(name).collection::<Document>(self.collection);
        let update = (self.update)();
        let changed = if update.is_empty() {
            collection.delete_one((self.filter)()).await.unwrap().deleted_count
        } else {
            collection.update_one((self.filter)(), update).await.unwrap().modified_count
        };
        assert_eq!(changed, 1, "{}", self.what);
    }
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
        assert!(
            tampering.position == 0 || found.stderr.contains(&named),
            "{}: {}",
            tampering.what,
            found.stderr
        );
        assert!(found.stderr.contains(tampering.said), "{}: {}", tampering.what, found.stderr);
    }
}
