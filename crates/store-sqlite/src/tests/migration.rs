use store::backend::{Backend, FORMAT, Genesis};
use store::{RefusalReason, StoreError};
use uuid::Uuid;

use super::*;

fn genesis(number: u8) -> Genesis {
    Genesis {
        format: FORMAT,
        log_id: Uuid::from_bytes([number; 16]),
        claim_key: vec![number; 60],
        signing_key: vec![number; 60],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_migrations_agree_on_one_genesis() {
    for _ in 0..5 {
        let database = Database::new();
        let processes: Vec<_> = (0..8).map(|_| SqliteStore::open(&database.path()).unwrap()).collect();
        let mut running = tokio::task::JoinSet::new();
        for (number, sqlite) in (0..).zip(processes) {
            running.spawn(async move { sqlite.migrate(&genesis(number)).await.unwrap() });
        }
        let stored = running.join_all().await;
        assert!((0..8).any(|number| stored[0] == genesis(number)));
        assert!(stored.iter().all(|genesis| *genesis == stored[0]));
    }
}

#[tokio::test]
async fn events_without_meta_are_refused() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    register(&log, "user-1").await.unwrap();
    log.close().await;
    drop((log, sqlite));
    database.raw().execute_batch("DROP TABLE meta").unwrap();
    let sqlite = SqliteStore::open(&database.path()).unwrap();
    let error = sqlite.migrate(&genesis(1)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(RefusalReason::MissingMeta { .. })), "{error}");
    assert!(!database.raw().table_exists(None, "meta").unwrap());
}

#[tokio::test]
async fn newer_format_is_refused_with_both_numbers() {
    let database = Database::new();
    let sqlite = SqliteStore::open(&database.path()).unwrap();
    sqlite.migrate(&genesis(1)).await.unwrap();
    let later = FORMAT + 6;
    database.raw().execute("UPDATE meta SET value = ?1 WHERE name = 'format'", [later.to_string()]).unwrap();
    for error in
        [sqlite.migrate(&genesis(1)).await.unwrap_err(), SqliteStore::open(&database.path()).err().unwrap()]
    {
        let StoreError::Refused(RefusalReason::NewerFormat { found, supported, .. }) = error else {
            panic!("{error}");
        };
        assert_eq!((found, supported), (later, FORMAT));
    }
}

#[tokio::test]
async fn migration_is_idempotent() {
    let database = Database::new();
    let sqlite = SqliteStore::open(&database.path()).unwrap();
    assert_eq!(sqlite.migrate(&genesis(1)).await.unwrap(), genesis(1));
    assert_eq!(sqlite.migrate(&genesis(2)).await.unwrap(), genesis(1));
}

#[tokio::test]
async fn events_are_immutable() {
    let database = Database::new();
    let (_sqlite, log) = database.open().await;
    register(&log, "user-1").await.unwrap();
    let raw = database.raw();
    for sql in ["UPDATE events SET actor = 'me'", "DELETE FROM events"] {
        assert!(raw.execute(sql, []).unwrap_err().to_string().contains("events are never"), "{sql}");
    }
}

#[tokio::test]
async fn replaced_index_is_dropped() {
    let database = Database::new();
    drop(database.open().await);
    database.raw().execute_batch("CREATE INDEX sessions_stream ON sessions (stream)").unwrap();
    drop(database.open().await);
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'sessions' AND sql IS NOT NULL";
    let indexes: Vec<String> = {
        let raw = database.raw();
        let mut names = raw.prepare(sql).unwrap();
        names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(indexes, ["sessions_renewed_at", "sessions_expires_at"]);
}
