use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use rusqlite::types::Value as Stored;

use store::{RefusalReason, StoreError};

use super::*;

fn refusal(path: &Path) -> RefusalReason {
    match SqliteStore::open(path) {
        Err(StoreError::Refused(reason)) => reason,
        Err(error) => panic!("expected `Refused`, got {error}"),
        Ok(_) => panic!("expected `Refused`, was opened"),
    }
}

#[tokio::test]
async fn files_have_mode_0600() {
    let database = Database::new();
    let (_sqlite, log) = database.open().await;
    register(&log, "user-1").await.unwrap();
    let mut seen = 0;
    for file in fs::read_dir(database.folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.path().display());
        seen += 1;
    }
    assert_eq!(seen, 3, "the database, its -wal and its -shm");
}

#[tokio::test]
async fn closing_leaves_a_single_file() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    register(&log, "user-1").await.unwrap();
    log.close().await;
    drop((log, sqlite));
    assert_eq!(fs::read_dir(database.folder.path()).unwrap().count(), 1);
    let (_sqlite, log) = database.open().await;
    assert_eq!(log.head().await.unwrap().position.get(), 1);
}

#[test]
fn foreign_files_are_refused_unchanged() {
    let folder = TempDir::new().unwrap();
    assert!(matches!(refusal(folder.path()), RefusalReason::IsFolder { .. }));
    let missing = folder.path().join("missing").join("aegis.sqlite");
    assert!(matches!(refusal(&missing), RefusalReason::FolderMissing { .. }));
    assert!(matches!(refusal(Path::new("/dev/null")), RefusalReason::NotRegularFile { .. }));

    let text = folder.path().join("text");
    fs::write(&text, "no database, but a text of some length. ".repeat(100)).unwrap();
    let before = fs::read(&text).unwrap();
    assert!(matches!(refusal(&text), RefusalReason::NotSqlite { .. }));
    assert_eq!(fs::read(&text).unwrap(), before);

    let foreign = folder.path().join("foreign");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    let before = fs::read(&foreign).unwrap();
    assert!(matches!(refusal(&foreign), RefusalReason::ForeignDatabase { .. }));
    assert_eq!(fs::read(&foreign).unwrap(), before);
}

#[test]
fn concurrent_opens_of_a_new_file_succeed() {
    for _ in 0..10 {
        let database = Database::new();
        let path = database.path();
        thread::scope(|scope| {
            let open = || drop(SqliteStore::open(&path).unwrap());
            (0..8).for_each(|_| drop(scope.spawn(open)));
        });
    }
}

#[tokio::test]
async fn moved_or_replaced_file_rejects_writes() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    sqlite.ready().await.unwrap();
    let away = database.folder.path().join("away");
    fs::rename(database.path(), &away).unwrap();
    assert!(sqlite.ready().await.unwrap_err().to_string().contains("moved or deleted"));
    assert!(matches!(register(&log, "user-1").await, Err(AppendError::Store(_))));
    fs::write(database.path(), "").unwrap();
    assert!(sqlite.ready().await.unwrap_err().to_string().contains("replaced"));
    fs::rename(&away, database.path()).unwrap();
    sqlite.ready().await.unwrap();
    register(&log, "user-1").await.unwrap();
}

#[tokio::test]
async fn connections_have_the_required_pragmas() {
    let database = Database::new();
    let (sqlite, _log) = database.open().await;
    let pragma = |name: &'static str| {
        move |connection: &rusqlite::Connection| {
            Ok(connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, Stored>(0))?)
        }
    };
    for (name, value) in [("synchronous", 2), ("secure_delete", 1), ("wal_autocheckpoint", 0)] {
        let found = sqlite.write(move |connection| pragma(name)(connection)).await.unwrap();
        assert_eq!(found, Stored::Integer(value), "{name}");
    }
    let mode = sqlite.write(move |connection| pragma("journal_mode")(connection)).await.unwrap();
    assert_eq!(mode, Stored::Text("wal".to_owned()));
    let reading = [("query_only", 1), ("wal_autocheckpoint", 0), ("temp_store", 2), ("busy_timeout", 5000)];
    for (name, value) in reading {
        assert_eq!(sqlite.read(pragma(name)).await.unwrap(), Stored::Integer(value), "{name}");
    }
}
