//! Databases for the services of tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis::config::{DatabaseSettings, Secret};
use mongodb::Client;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use rusqlite::Connection;
use tempfile::TempDir;

/// The database of one test, deleted with the last clone.
#[derive(Clone)]
pub(crate) struct Store(Arc<Backend>);

enum Backend {
    Sqlite(TempDir),
    Mongo(testkit::TestDatabase),
    Server { url: String },
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
