use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use store::backend::Backend;
use store::lease::LeaseStore;
use store::{Position, StoreError};

use super::*;
use crate::error::SqliteError;
use crate::job_queue::Priority;
use crate::transaction::commit;

async fn set_max_pages(sqlite: &SqliteStore, pages: i64) {
    let limit = move |connection: &mut rusqlite::Connection| {
        Ok(connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
    };
    sqlite.write(limit).await.unwrap();
}

#[tokio::test]
async fn full_disk_is_reported_and_recovers() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    register(&log, "user-0").await.unwrap();
    set_max_pages(&sqlite, 1).await;
    let mut stored = 1;
    let error = loop {
        match register(&log, &format!("user-{stored}")).await {
            Ok(appended) => {
                stored += 1;
                assert_eq!(appended.position.get(), stored);
            }
            Err(error) => break error,
        }
    };
    let AppendError::Store(StoreError::Unavailable { what, .. }) = &error else { panic!("{error:?}") };
    assert!(what.contains("is full") && what.contains("free some space"), "{what}");
    assert_eq!(log.head().await.unwrap().position.get(), stored);
    assert!(register(&log, "user-late").await.is_err());

    set_max_pages(&sqlite, 1_000_000).await;
    assert_eq!(register(&log, &format!("user-{stored}")).await.unwrap().position.get(), stored + 1);
    log.close().await;
    drop((log, sqlite));
    let (_sqlite, log) = database.open().await;
    assert_eq!(log.head().await.unwrap().position.get(), stored + 1);
}

#[tokio::test]
async fn broken_connection_is_reopened() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    register(&log, "user-1").await.unwrap();
    let broken = |_: &rusqlite::Connection| -> Result<(), SqliteError> {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_WRITE);
        Err(rusqlite::Error::SqliteFailure(error, None).into())
    };
    let error = sqlite.write(move |connection| {
        connection.execute_batch("BEGIN IMMEDIATE; DELETE FROM claims")?;
        broken(connection)
    });
    assert!(error.await.unwrap_err().to_string().contains("check the disk"));
    assert!(sqlite.read(broken).await.unwrap_err().is_transient());
    let panicking = sqlite.write(|_| -> Result<(), SqliteError> { panic!("this panic is part of the test") });
    assert!(panicking.await.unwrap_err().is_transient());
    assert!(matches!(register(&log, "user-1").await, Err(AppendError::Conflict { .. })));
    assert_eq!(register(&log, "user-2").await.unwrap().position, Position::new(2));
}

#[tokio::test]
async fn open_transaction_is_rolled_back() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    sqlite
        .write(|connection| Ok(connection.execute_batch("BEGIN IMMEDIATE; DELETE FROM meta")?))
        .await
        .unwrap();
    assert_eq!(register(&log, "user-1").await.unwrap().position, Position::new(1));
    let left: i64 = database.raw().query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 2);
}

#[tokio::test]
async fn lock_timeout_is_reported() {
    let database = Database::new();
    let (_sqlite, log) = database.open().await;
    let raw = database.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    let error = register(&log, "user-1").await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    assert!(start.elapsed() >= Duration::from_secs(4), "{:?}", start.elapsed());
    raw.execute_batch("ROLLBACK").unwrap();
    assert_eq!(register(&log, "user-1").await.unwrap().position, Position::new(1));
}

#[tokio::test]
async fn append_that_is_locked_out_comes_before_leases_and_is_never_done_later() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    let raw = database.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let names: Vec<_> = (0..4).map(|number| format!("lease-{number}")).collect();
    let term = Duration::from_secs(10);
    let leases = names.iter().map(|name| sqlite.acquire_lease(name, "node", term, &Value::Null));
    // The leases are queued first.
    let (leases, appended) = tokio::join!(join_all(leases), register(&log, "user-1"));
    let Err(AppendError::Store(StoreError::Unavailable { what, .. })) = &appended else {
        panic!("the outcome is not certain: {appended:?}")
    };
    assert!(what.contains("another process has locked") && what.contains("nothing was written"), "{what}");
    for lease in leases {
        assert!(lease.as_ref().is_err_and(StoreError::is_transient), "{lease:?}");
    }
    raw.execute_batch("ROLLBACK").unwrap();
    assert_eq!(register(&log, "user-2").await.unwrap().position, Position::new(1));
    assert_eq!(sqlite.stream(&stream("user-1"), 0, 10).await.unwrap(), []);
}

#[tokio::test]
async fn job_that_gives_way_is_called_again_after_appends() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    let appended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&appended);
    let job = sqlite.writer.run(Priority::Normal, move |_| seen.load(Ordering::Acquire).then_some("done"));
    let append = async {
        register(&log, "user-1").await.unwrap();
        appended.store(true, Ordering::Release);
    };
    assert_eq!(tokio::join!(job, append).0.unwrap(), "done");
}

#[test]
fn failed_commit_is_not_committed_while_open_and_unknown_after() {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    let tables = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);";
    connection.execute_batch(tables).unwrap();

    // A deferred foreign key is checked by COMMIT, which leaves the transaction open when it fails.
    let transaction = connection.transaction().unwrap();
    transaction.execute_batch("INSERT INTO child VALUES (1)").unwrap();
    let failure = commit(&transaction).unwrap_err();
    assert!(matches!(&failure, SqliteError::Sqlite(_)), "{failure:?}");
    drop(transaction);
    assert!(connection.is_autocommit());
    assert_eq!(connection.query_row("SELECT count(*) FROM child", [], |row| row.get(0)), Ok(0));

    // Any other failed COMMIT leaves no open transaction.
    let transaction = connection.transaction().unwrap();
    transaction.execute_batch("ROLLBACK").unwrap();
    let failure = commit(&transaction).unwrap_err();
    assert!(matches!(&failure, SqliteError::UnknownCommit(_)), "{failure:?}");
    assert!(failure.breaks_connection());
}

/// The child process of [`acknowledged_appends_survive_a_kill`]; its database is in the working folder.
#[tokio::test]
#[ignore = "child process of another test, which kills it"]
async fn child_process_that_is_killed() {
    let Ok(master) = std::fs::read_to_string("master.key") else { return };
    let master = MasterKey::from_base64(&master).unwrap();
    let sqlite = Arc::new(SqliteStore::open(Path::new("aegis.sqlite")).unwrap());
    let log = EventStore::open(sqlite, master, Env::system()).await.unwrap();
    let start = log.head().await.unwrap().position.get();
    for number in start.. {
        let position = register(&log, &format!("user-{number}")).await.unwrap().position;
        // One write per line, so that the parent sees every acknowledgement at once.
        std::io::stderr().write_all(format!("acknowledged {position}\n").as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn acknowledged_appends_survive_a_kill() {
    let database = Database::new();
    std::fs::write(database.folder.path().join("master.key"), database.master.to_base64()).unwrap();
    for round in 1..=5 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                "tests::failure_recovery::child_process_that_is_killed",
            ])
            .current_dir(database.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let position = |line: &str| line.strip_prefix("acknowledged ").map(|n| n.parse::<u64>().unwrap());
        let mut acknowledged = 0;
        while acknowledged < round * 40 {
            acknowledged = lines.next().unwrap().ok().as_deref().and_then(position).unwrap_or(acknowledged);
        }
        process.kill().unwrap();
        process.wait().unwrap();
        for line in lines {
            acknowledged = position(&line.unwrap()).unwrap_or(acknowledged);
        }
        let (sqlite, log) = database.open().await;
        let head = log.head().await.unwrap().position.get();
        println!("acknowledged {acknowledged}, found {head}");
        assert!(head >= acknowledged, "acknowledged {acknowledged}, found {head}");
        assert_eq!(sqlite.stream(&stream(&format!("user-{}", head - 1)), 0, 10).await.unwrap().len(), 1);
        register(&log, &format!("user-{head}")).await.unwrap();
    }
}
