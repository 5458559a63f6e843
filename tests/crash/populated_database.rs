//! A database populated with many users, imported in batches, so that a long log is created in minutes. A few
//! thousand users by default, `AEGIS_TEST_USERS` otherwise.

use std::sync::Arc;

use aegis::app::Database;
use aegis::config::{DATABASE_FILE, DatabaseSettings, Secret};
use domain::{EmailAddress, Moment, PasswordHash, User, UserCommand, UserEvent, UserId, Username, user};
use mongodb::bson::{RawDocumentBuf, doc};
use store::{Append, Claim, Env, EventStore, ExpectedVersion, MasterKey, NewEvent, StreamId, StreamWrite};
use tempfile::TempDir;
use testkit::service::MASTER_KEY;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::test_config::env_number;

/// Users in one append.
const USERS_PER_APPEND: u64 = 100;
/// Concurrent appends.
const MAX_IN_FLIGHT: u64 = 8;

pub(crate) fn user_count() -> u64 {
    env_number("AEGIS_TEST_USERS").unwrap_or(3_000)
}

pub(crate) enum PopulatedDatabase {
    Mongo(testkit::TestDatabase),
    Embedded(TempDir),
}

impl PopulatedDatabase {
    pub(crate) async fn on_mongodb(users: u64) -> Self {
        let database = testkit::shared_mongodb().await.database();
        let url = Secret::new(database.url().to_owned());
        let settings = DatabaseSettings::Mongo { url, name: database.name().to_owned() };
        import(&settings, MasterKey::from_base64(MASTER_KEY).unwrap(), users).await;
        Self::Mongo(database)
    }

    pub(crate) async fn embedded(users: u64) -> Self {
        let data = TempDir::new().unwrap();
        let settings = DatabaseSettings::Embedded { data_dir: data.path().to_owned() };
        let master = MasterKey::generate(&Env::system());
        let file = data.path().join("master.key");
        std::fs::write(&file, master.to_base64().as_str()).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        import(&settings, master, users).await;
        Self::Embedded(data)
    }

    /// A cluster of one service on this database.
    pub(crate) fn cluster(&self) -> Cluster {
        match self {
            Self::Mongo(database) => Cluster::on_mongodb(1, database.url(), database.name()),
            Self::Embedded(data) => Cluster::embedded(data.path()),
        }
    }

    /// Passes everything stored to `scan`, with its location: each document of each collection, or each file
    /// after a `VACUUM`. The database must not be in use.
    pub(crate) async fn scan_stored_bytes(&self, mut scan: impl FnMut(&str, &[u8])) {
        match self {
            Self::Mongo(database) => {
                let client = mongodb::Client::with_uri_str(database.url()).await.unwrap();
                let database = client.database(database.name());
                for name in database.list_collection_names().await.unwrap() {
                    let mut found = database.collection::<RawDocumentBuf>(&name).find(doc! {}).await.unwrap();
                    while found.advance().await.unwrap() {
                        scan(&name, found.current().as_bytes());
                    }
                }
            }
            Self::Embedded(data) => {
                let connection = rusqlite::Connection::open(data.path().join(DATABASE_FILE)).unwrap();
                connection.execute_batch("VACUUM").unwrap();
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
                connection.close().unwrap();
                for file in std::fs::read_dir(data.path()).unwrap() {
                    let file = file.unwrap();
                    scan(&file.file_name().to_string_lossy(), &std::fs::read(file.path()).unwrap());
                }
            }
        }
    }
}

/// Imports users into an empty database.
async fn import(database: &DatabaseSettings, master: MasterKey, users: u64) {
    let env = Env::system();
    let log = Database::connect(database).await.unwrap().log;
    let store = Arc::new(EventStore::open(log, master, env.clone()).await.unwrap());
    let mut importing = JoinSet::new();
    for first in (0..users).step_by(usize::try_from(USERS_PER_APPEND).unwrap()) {
        if importing.len() >= usize::try_from(MAX_IN_FLIGHT).unwrap() {
            importing.join_next().await.unwrap().unwrap();
        }
        let (store, env) = (Arc::clone(&store), env.clone());
        importing.spawn(async move {
            let numbers = first..(first + USERS_PER_APPEND).min(users);
            let writes = numbers.map(|number| imported_user(number, &env)).collect();
            store.append(&Append::new("operator:test", "import", writes)).await.unwrap();
        });
    }
    while let Some(done) = importing.join_next().await {
        done.unwrap();
    }
    store.close().await;
}

fn imported_user(number: u64, env: &Env) -> StreamWrite {
    let import = UserCommand::Import {
        email: EmailAddress::parse(&format!("imported{number}@example.com")).unwrap(),
        username: Username::parse(&format!("imported {number}.")).unwrap(),
        password_hash: Some(PasswordHash::new(HASH.to_owned()).unwrap()),
        is_active: !number.is_multiple_of(10),
        created_at: Moment::from_millisecond(1_600_000_000_000).unwrap(),
    };
    let events = user::decide(&User::Absent, import).unwrap();
    let take = events.iter().flat_map(UserEvent::claims_taken);
    let take = take.map(|(kind, value)| Claim { kind: kind.as_str(), value }).collect();
    let new = events.iter().map(UserEvent::encode).map(|encoded| NewEvent {
        id: env.uuid(),
        event_type: encoded.event_type.to_owned(),
        schema: encoded.schema,
        data: encoded.data,
        personal: encoded.personal,
    });
    let stream = StreamId::new(UserId::from_uuid(env.uuid()).stream()).unwrap();
    StreamWrite { take, ..StreamWrite::new(stream, ExpectedVersion::NoStream, new.collect()) }
}

/// As long as a real hash with the default cost parameters.
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBhIGhhc2ghIQ";
