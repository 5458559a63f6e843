//! Databases for the services of tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis::config::{DatabaseSettings, Secret};
use mongodb::Client;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

/// The database of one test, deleted with the last clone.
#[derive(Clone)]
pub(crate) struct Store(Arc<Backend>);

enum Backend {
    Sqlite(TempDir),
    Mongo(testkit::TestDatabase),
    Server { url: String },
}

/// A stored row.
pub(crate) enum SavedRow {
    Mongo(Document),
    Sqlite(Vec<rusqlite::types::Value>),
}

impl Store {
    /// An embedded database in a temporary folder.
    pub(crate) fn sqlite() -> Self {
        Self(Arc::new(Backend::Sqlite(TempDir::new().unwrap())))
    }

    /// A separate database on the shared MongoDB.
    pub(crate) async fn mongo() -> Self {
        Self(Arc::new(Backend::Mongo(testkit::shared_mongodb().await.database())))
    }

    /// A database on a separate MongoDB server, which may not be running yet.
    pub(crate) fn on_port(port: u16) -> Self {
        Self(Arc::new(Backend::Server { url: format!("mongodb://127.0.0.1:{port}/?replicaSet=rs0") }))
    }

    /// A database on the MongoDB at `url`.
    pub(crate) fn at(url: &str) -> Self {
        Self(Arc::new(Backend::Server { url: url.to_owned() }))
    }

    pub(crate) fn settings(&self) -> DatabaseSettings {
        match self.mongo_address() {
            Some((url, name)) => {
                DatabaseSettings::Mongo { url: Secret::new(url.to_owned()), name: name.to_owned() }
            }
            None => DatabaseSettings::Embedded { data_dir: self.folder().to_owned() },
        }
    }

    /// URL and database name of a MongoDB.
    pub(crate) fn mongo_address(&self) -> Option<(&str, &str)> {
        match &*self.0 {
            Backend::Sqlite(_) => None,
            Backend::Mongo(database) => Some((database.url(), database.name())),
            Backend::Server { url } => Some((url, "aegis")),
        }
    }

    /// The file of an embedded database.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder().join(aegis::config::DATABASE_FILE)
    }

    /// Drops a table or collection directly.
    pub(crate) async fn drop_table(&self, name: &str) {
        match self.mongo_database().await {
            Some(database) => database.collection::<Document>(name).drop().await.unwrap(),
            None => self.connection().execute_batch(&format!("DROP TABLE {name}")).unwrap(),
        }
    }

    /// Drops the whole database directly.
    pub(crate) async fn drop_everything(&self) {
        self.mongo_database().await.expect("only a MongoDB has databases").drop().await.unwrap();
    }

    /// Changes the username in a row directly.
    pub(crate) async fn rename_by_hand(&self, table: &str, email: &str, username: &str) {
        let changed = if let Some(database) = self.mongo_database().await {
            let set = doc! { "$set": { "username": username } };
            let rows = database.collection::<Document>(table);
            rows.update_one(doc! { "email": email }, set).await.unwrap().modified_count
        } else {
            let statement = format!("UPDATE {table} SET username = ?1 WHERE email = ?2");
            self.connection().execute(&statement, [username, email]).unwrap().try_into().unwrap()
        };
        assert_eq!(changed, 1, "the row of {email} in {table}");
    }

    /// Changes a column of the row with that key directly, and returns its former value.
    pub(crate) async fn set_by_hand(&self, table: &str, id: &str, column: &str, value: Value) -> Value {
        if let Some(database) = self.mongo_database().await {
            let (rows, by_id) = (database.collection::<Document>(table), doc! { "_id": id });
            let before = rows.find_one(by_id.clone()).await.unwrap().expect("the row");
            let set = doc! { "$set": { column: mongodb::bson::serialize_to_bson(&value).unwrap() } };
            rows.update_one(by_id, set).await.unwrap();
            return serde_json::to_value(before.get(column)).unwrap();
        }
        let (connection, key) = (self.connection(), if table.starts_with("users") { "id" } else { "day" });
        let find = format!("SELECT {column} FROM {table} WHERE {key} = ?1");
        let before =
            connection.query_row(&find, [id], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
        let column_value = match &value {
            Value::Number(number) => rusqlite::types::Value::Integer(number.as_i64().unwrap()),
            Value::Bool(value) => rusqlite::types::Value::Integer((*value).into()),
            Value::String(text) => rusqlite::types::Value::Text(text.clone()),
            value => rusqlite::types::Value::Text(value.to_string()),
        };
        let update = format!("UPDATE {table} SET {column} = ?1 WHERE {key} = ?2");
        assert_eq!(connection.execute(&update, rusqlite::params![column_value, id]).unwrap(), 1, "{table}");
        match before {
            rusqlite::types::Value::Integer(number) => number.into(),
            rusqlite::types::Value::Text(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            _ => Value::Null,
        }
    }

    /// The stored row of a user.
    pub(crate) async fn save_user_row(&self, table: &str, id: &str) -> SavedRow {
        if let Some(database) = self.mongo_database().await {
            let found = database.collection::<Document>(table).find_one(doc! { "_id": id }).await.unwrap();
            return SavedRow::Mongo(found.unwrap());
        }
        let connection = self.connection();
        let mut select = connection.prepare(&format!("SELECT * FROM {table} WHERE id = ?1")).unwrap();
        let columns = select.column_count();
        let row = select.query_row([id], |row| (0..columns).map(|column| row.get(column)).collect());
        SavedRow::Sqlite(row.unwrap())
    }

    /// Replaces the stored row of a user with a saved one.
    pub(crate) async fn restore_user_row(&self, table: &str, saved: &SavedRow) {
        match saved {
            SavedRow::Mongo(row) => {
                let rows = self.mongo_database().await.unwrap().collection::<Document>(table);
                let by_id = doc! { "_id": row.get_str("_id").unwrap() };
                rows.replace_one(by_id, row).upsert(true).await.unwrap();
            }
            SavedRow::Sqlite(columns) => {
                let values = vec!["?"; columns.len()].join(", ");
                let replace = format!("INSERT OR REPLACE INTO {table} VALUES ({values})");
                self.connection().execute(&replace, rusqlite::params_from_iter(columns)).unwrap();
            }
        }
    }

    /// Moves the delivery cursor of a webhook directly, as if it had delivered everything up to a position.
    pub(crate) async fn plant_cursor(&self, stream: &str, position: u64) {
        let moved = |state: &str| {
            let mut state: Value = serde_json::from_str(state).unwrap();
            state["position"] = position.into();
            state.to_string()
        };
        if let Some(database) = self.mongo_database().await {
            let cursors = database.collection::<Document>("delivery_progress");
            let by_stream = doc! { "_id": stream };
            let stored = cursors.find_one(by_stream.clone()).await.unwrap().expect("a cursor");
            let set = doc! { "$set": { "state": moved(stored.get_str("state").unwrap()) } };
            cursors.update_one(by_stream, set).await.unwrap();
            return;
        }
        let connection = self.connection();
        let select = "SELECT state FROM delivery_progress WHERE stream = ?1";
        let state: String = connection.query_row(select, [stream], |row| row.get(0)).unwrap();
        let update = "UPDATE delivery_progress SET state = ?1 WHERE stream = ?2";
        assert_eq!(connection.execute(update, [moved(&state).as_str(), stream]).unwrap(), 1);
    }

    /// Makes the recorded results of all idempotency keys those of another stream, directly.
    pub(crate) async fn plant_result(&self, stream: &str) {
        let changed = if let Some(database) = self.mongo_database().await {
            let results = database.collection::<Document>("idempotency");
            let set = doc! { "$set": { "stream": stream } };
            results.update_many(doc! {}, set).await.unwrap().modified_count
        } else {
            let statement = "UPDATE idempotency SET stream = ?1";
            self.connection().execute(statement, [stream]).unwrap().try_into().unwrap()
        };
        assert_eq!(changed, 1, "recorded results");
    }

    /// Deletes the row of a user directly.
    pub(crate) async fn delete_user_by_hand(&self, table: &str, id: &str) {
        let deleted = if let Some(database) = self.mongo_database().await {
            let rows = database.collection::<Document>(table);
            rows.delete_one(doc! { "_id": id }).await.unwrap().deleted_count
        } else {
            let statement = format!("DELETE FROM {table} WHERE id = ?1");
            self.connection().execute(&statement, [id]).unwrap().try_into().unwrap()
        };
        assert_eq!(deleted, 1, "the row {id} of {table}");
    }

    /// Damages the data key of a stream directly.
    pub(crate) async fn damage_key_entry(&self, stream: &str) {
        let changed = if let Some(database) = self.mongo_database().await {
            let garbage = Binary { subtype: BinarySubtype::Generic, bytes: vec![7; 40] };
            let entries = database.collection::<Document>("vault");
            let set = doc! { "$set": { "key": garbage } };
            entries.update_one(doc! { "_id": stream }, set).await.unwrap().modified_count
        } else {
            let statement = "UPDATE vault SET key = ?1 WHERE stream = ?2";
            let damaged = self.connection().execute(statement, rusqlite::params![vec![7_u8; 40], stream]);
            damaged.unwrap().try_into().unwrap()
        };
        assert_eq!(changed, 1, "the key store entry of {stream}");
    }

    pub(crate) async fn mongo_database(&self) -> Option<mongodb::Database> {
        let (url, name) = self.mongo_address()?;
        Some(Client::with_uri_str(url).await.unwrap().database(name))
    }

    fn connection(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }

    /// The folder of an embedded database.
    pub(crate) fn folder(&self) -> &Path {
        match &*self.0 {
            Backend::Sqlite(folder) => folder.path(),
            Backend::Mongo(_) | Backend::Server { .. } => panic!("only the embedded database has a folder"),
        }
    }
}
