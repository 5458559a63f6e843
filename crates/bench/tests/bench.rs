//! The binary `aegis-bench`: JSON and table have the documented form, and every run removes its scratch
//! databases and leaves all others unchanged, however it ends.
#![cfg(test)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use aegis::app::Database;
use aegis::config::{DATABASE_FILE, DatabaseSettings, Secret};
use mongodb::Client;
use mongodb::bson::{RawDocumentBuf, doc};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::Value;
use store::{Env, EventStore, MasterKey};
use tempfile::TempDir;
use testkit::TestDatabase;
use testkit::service::{Deployment, eventually, run_test, run_test_with_timeout};

/// A configured database that a benchmark must not touch.
enum Store {
    Sqlite(TempDir),
    Mongo(TestDatabase),
}

/// Declares the test functions for both stores.
macro_rules! on_both_stores {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::run_test_with_timeout(super::LIMIT, super::$name(super::Store::sqlite())).await;
            })+
        }
        mod mongo {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::run_test_with_timeout(super::LIMIT, super::$name(super::Store::mongo().await)).await;
            })+
        }
    };
}

on_both_stores! {
    output_has_the_documented_form_and_scratch_databases_are_removed
    interrupted_run_cleans_up
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_mongod_is_started_and_removed() {
    run_test(temporary_mongod()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_run_leaves_no_folder_and_no_server() {
    run_test(killed_run()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_mongodb_is_reported_in_the_results() {
    run_test(missing_mongodb()).await;
}

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_aegis-bench");

impl Store {
    fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap())
    }

    async fn mongo() -> Self {
        Self::Mongo(testkit::shared_mongodb().await.database())
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Mongo(_) => "mongodb",
        }
    }

    /// Creates an event store in the database.
    async fn create(&self) {
        let settings = match self {
            Self::Sqlite(folder) => DatabaseSettings::Embedded { data_dir: folder.path().to_owned() },
            Self::Mongo(database) => DatabaseSettings::Mongo {
                url: Secret::new(database.url().to_owned()),
                name: database.name().to_owned(),
            },
        };
        let (database, env) = (Database::connect(&settings).await.unwrap(), Env::system());
        let store = EventStore::open(database.log, MasterKey::generate(&env), env).await.unwrap();
        store.close().await;
    }

    /// Every table or collection, with its content.
    async fn dump(&self) -> Vec<(String, String)> {
        match self {
            Self::Sqlite(folder) => dump_sqlite(&folder.path().join(DATABASE_FILE)),
            Self::Mongo(database) => dump_mongo(database.url(), database.name()).await,
        }
    }

    /// The service's settings, with a folder for temporary files.
    fn deployment(&self) -> (Deployment, TempDir) {
        let temporary = TempDir::new().unwrap();
        let deployment = match self {
            Self::Sqlite(folder) => Deployment::embedded(EXECUTABLE, folder.path()),
            Self::Mongo(database) => Deployment::on_mongodb(EXECUTABLE, database.url(), database.name()),
        };
        let deployment = deployment.with("TMPDIR", temporary.path().to_str().unwrap());
        (deployment.with_timeout(TIMEOUT), temporary)
    }
}

async fn dump_mongo(url: &str, name: &str) -> Vec<(String, String)> {
    let database = Client::with_uri_str(url).await.unwrap().database(name);
    let mut names = database.list_collection_names().await.unwrap();
    names.sort();
    let mut dumped = Vec::new();
    for collection in names {
        let mut found = database.collection::<RawDocumentBuf>(&collection).find(doc! {}).await.unwrap();
        let mut content = String::new();
        while found.advance().await.unwrap() {
            writeln!(content, "{:?}", found.current()).unwrap();
        }
        dumped.push((collection, content));
    }
    dumped
}

fn dump_sqlite(file: &Path) -> Vec<(String, String)> {
    let connection = Connection::open(file).unwrap();
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut tables = connection.prepare(sql).unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    tables.into_iter().map(|table| (table.clone(), dump_table(&connection, &table))).collect()
}

fn dump_table(connection: &Connection, table: &str) -> String {
    let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut content = String::new();
    while let Some(row) = rows.next().unwrap() {
        for column in 0..columns {
            writeln!(content, "{:?}", row.get_ref(column).unwrap()).unwrap();
        }
    }
    content
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

/// Waits until no benchmark has a database on the server. Concurrent tests may have some for a while.
async fn assert_no_scratch_databases(store: &Store) {
    let Store::Mongo(database) = store else { return };
    let client = Client::with_uri_str(database.url()).await.unwrap();
    eventually("the removal of scratch databases", async || {
        let names = client.list_database_names().await.unwrap();
        names.iter().all(|name| !name.starts_with("aegis_bench")).then_some(())
    })
    .await;
}

const BENCHMARKS: [&str; 25] = [
    "append_alone",
    "append_grouped",
    "hashing",
    "import",
    "rebuild",
    "authenticated_read",
    "authenticated_rebuild",
    "commit_to_visible",
    "sign_up_commands",
    "sign_up_transactions",
    "users_me",
    "users_me_during_rebuild",
    "logins",
    "sign_ups",
    "idle_commands",
    "sse_subscribers",
    "webhook_delay",
    "webhook_pace",
    "login_event",
    "session_renewal",
    "verify",
    "proof",
    "export",
    "binary_size",
    "idle_memory",
];

/// Only a MongoDB counts its commands.
const ONLY_ON_MONGODB: [&str; 3] = ["sign_up_commands", "sign_up_transactions", "idle_commands"];

/// How long measuring all of them may take on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(8);
const LIMIT: Duration = Duration::from_mins(9);

/// All benchmarks, for no longer than is needed to see that they are measured.
fn quick(store: &str) -> Vec<&str> {
    vec!["--store", store, "--seconds", "0.3"]
}

#[track_caller]
fn assert_measured(figures: &[Value], store: &str, expected: &[&str]) {
    let names: Vec<_> = figures.iter().map(|figure| figure["name"].as_str().unwrap()).collect();
    assert_eq!(names, expected);
    for figure in figures {
        assert_eq!(figure["store"], store);
        // These two are of the service, which has not been built if only this crate is tested.
        if ["binary_size", "idle_memory"].contains(&figure["name"].as_str().unwrap())
            && figure["value"].is_null()
        {
            assert!(figure["note"].as_str().unwrap().contains("does not exist"), "{figure}");
            continue;
        }
        let number = |name: &str| figure[name].as_f64().unwrap_or_else(|| panic!("no {name}: {figure}"));
        let [value, limit, ratio, target] = ["value", "limit", "ratio", "target"].map(number);
        // An idle service may execute no command in a short slice.
        assert!(value > 0.0 || figure["name"] == "idle_commands", "{figure}");
        assert!(limit > 0.0 && target > 0.0, "{figure}");
        assert!((ratio - value / limit).abs() <= 0.001 + ratio * 0.01, "{figure}");
        assert!(figure["pass"].is_boolean() && figure["rounds"] == 11, "{figure}");
    }
}

async fn output_has_the_documented_form_and_scratch_databases_are_removed(store: Store) {
    let (deployment, folder) = store.deployment();
    store.create().await;
    let before = store.dump().await;
    assert!(!before.is_empty());
    let kind = store.kind();
    let json = deployment.json(&quick(kind)).await;
    assert_eq!(json.len(), 1, "one object: {json:?}");
    let is_measured = |name: &&str| {
        if kind == "mongodb" { *name != "binary_size" } else { !ONLY_ON_MONGODB.contains(name) }
    };
    let expected: Vec<_> = BENCHMARKS.into_iter().filter(is_measured).collect();
    assert_measured(json[0]["figures"].as_array().unwrap(), kind, &expected);
    let shown = deployment.run_ok(&["--store", kind, "--seconds", "0.5", "--only", "append_alone"]).await;
    for word in ["BENCHMARK", "append_alone", "ratio <= 1.5", "11 rounds", "one registration after the other"]
    {
        assert!(shown.stdout.contains(word), "{word} is missing from {shown:?}");
    }
    assert!(!shown.stdout.contains("append_grouped"), "{shown:?}");
    assert!(is_empty(folder.path()), "the scratch folder was not removed");
    assert_no_scratch_databases(&store).await;
    assert!(before == store.dump().await, "the database was changed");
}

async fn interrupted_run_cleans_up(store: Store) {
    let (deployment, folder) = store.deployment();
    let mut run = deployment.start(&["--store", store.kind(), "--seconds", "3000"]);
    eventually("a scratch database", async || {
        has_scratch_database(&store, folder.path()).await.then_some(())
    })
    .await;
    let status = run.signal(Signal::INT).await;
    assert_eq!(status.code(), Some(1), "{}", run.output());
    assert!(run.output().contains("aegis-bench: interrupted"), "{}", run.output());
    assert!(is_empty(folder.path()), "the scratch folder was not removed");
    assert_no_scratch_databases(&store).await;
}

/// Whether the measurement has begun, as its database shows.
async fn has_scratch_database(store: &Store, folder: &Path) -> bool {
    if let Store::Mongo(database) = store {
        let client = Client::with_uri_str(database.url()).await.unwrap();
        let names = client.list_database_names().await.unwrap();
        names.iter().any(|name| name.starts_with("aegis_bench"))
    } else {
        let scratch = fs::read_dir(folder).unwrap().next();
        scratch.is_some_and(|scratch| scratch.unwrap().path().join("database_0/raw.db").exists())
    }
}

async fn killed_run() {
    let (deployment, folder) = Store::sqlite().deployment();
    let executable = testkit::mongod().await;
    let deployment = deployment.with("AEGIS_MONGOD", executable.to_str().unwrap());
    let run = deployment.start(&["--store", "mongodb", "--seconds", "3000"]);
    eventually("the measurement", async || run.output().contains("measuring").then_some(())).await;
    let scratch = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    // The server writes its process id into its lock file.
    let server: i32 = fs::read_to_string(scratch.join("mongod/mongod.lock")).unwrap().trim().parse().unwrap();
    let is_running = || test_kill_process(Pid::from_raw(server).unwrap()).is_ok();
    assert!(is_running());
    run.kill();
    eventually("the end of the server", async || (!is_running()).then_some(())).await;
    eventually("the removal of the folder", async || is_empty(folder.path()).then_some(())).await;
}

async fn temporary_mongod() {
    let (deployment, folder) = Store::sqlite().deployment();
    let executable = testkit::mongod().await;
    let deployment = deployment.with("AEGIS_MONGOD", executable.to_str().unwrap());
    let only = [&quick("mongodb")[..], &["--only", "append_alone"]].concat();
    let json = deployment.json(&only).await;
    assert_measured(json[0]["figures"].as_array().unwrap(), "mongodb", &["append_alone"]);
    assert!(is_empty(folder.path()), "the folder of the server was not removed");
}

async fn missing_mongodb() {
    let (deployment, _folder) = Store::sqlite().deployment();
    let deployment = deployment.with("AEGIS_MONGOD", "/nowhere/mongod");
    let arguments = ["--seconds", "0.5", "--only", "append_alone"];
    let figures = deployment.json(&arguments).await[0]["figures"].clone();
    assert_eq!((&figures[0]["store"], figures[0]["pass"].is_boolean()), (&"sqlite".into(), true));
    let missing = &figures[1];
    assert_eq!(missing["store"], "mongodb");
    assert!(missing["value"].is_null() && missing["pass"].is_null(), "{missing}");
    let shown = deployment.run_ok(&[&arguments[..], &["--store", "mongodb"]].concat()).await.stdout;
    for text in [missing["note"].as_str().unwrap(), &shown] {
        for word in ["/nowhere/mongod", "MONGODB_URL", "AEGIS_MONGOD"] {
            assert!(text.contains(word), "{word} is missing from {text}");
        }
    }
    assert!(shown.contains("not measured"), "{shown}");
}
