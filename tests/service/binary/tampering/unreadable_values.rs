//! Values of the wrong type, written by statements of each database because they cannot be represented as an
//! event, head or checkpoint.

use mongodb::Client;
use mongodb::bson::{Document, doc};

use super::raw_database::{binary, connection_without_triggers};
use crate::support::Store;

/// A change that makes a value unreadable, or that is outside log, head and key store.
#[derive(Clone, Copy)]
pub(super) struct UnreadableValue {
    pub(super) what: &'static str,
    /// A statement that changes one row.
    sqlite: &'static str,
    collection: &'static str,
    filter: fn() -> Document,
    /// The fields to set in the document.
    set: fn() -> Document,
    /// The position that is named.
    pub(super) position: u64,
    /// The code of the finding.
    pub(super) code: &'static str,
    /// The field or table that the message names.
    pub(super) names: &'static str,
}

pub(super) const UNREADABLE_VALUES: [UnreadableValue; 4] = [
    UnreadableValue {
        what: "truncated leaf hash",
        sqlite: "UPDATE events SET leaf = x'00' WHERE position = 3",
        collection: "events",
        filter: || doc! { "_id": 3 },
        set: || doc! { "leaf": binary(&[0]) },
        position: 3,
        code: "invalid_field",
        names: "`leaf`",
    },
    UnreadableValue {
        what: "malformed data",
        sqlite: "UPDATE events SET data = '{' WHERE position = 5",
        collection: "events",
        filter: || doc! { "_id": 5 },
        set: || doc! { "data": 1.5 },
        position: 5,
        code: "invalid_field",
        names: "`data`",
    },
    UnreadableValue {
        what: "malformed head",
        sqlite: "UPDATE head SET frontier = x'00'",
        collection: "head",
        filter: || doc! {},
        set: || doc! { "frontier": binary(&[0]) },
        position: 0,
        code: "invalid_record",
        names: "frontier",
    },
    // Last, because restoring the log does not undo it.
    UnreadableValue {
        what: "projection checkpoint ahead of the head",
        sqlite: "UPDATE checkpoints SET position = 99 WHERE name = 'users_1'",
        collection: "checkpoints",
        filter: || doc! { "_id": "users_1" },
        set: || doc! { "position": 99_i64 },
        position: 99,
        code: "projection_ahead_of_log",
        names: "users_1",
    },
];

impl UnreadableValue {
    pub(super) async fn on(&self, store: &Store) {
        let changed = if let Some((url, name)) = store.mongo_address() {
            let database = Client::with_uri_str(url).await.unwrap().database(name);
            let damaged = database.collection::<Document>(self.collection);
            let set = doc! { "$set": (self.set)() };
            damaged.update_one((self.filter)(), set).await.unwrap().modified_count
        } else {
            connection_without_triggers(store).execute(self.sqlite, []).unwrap().try_into().unwrap()
        };
        assert_eq!(changed, 1, "{}", self.what);
    }
}
