//! Objects of other programs in the schema: they are named, and the database is refused.

use store::{Column, ColumnKind, ReadModelStore, RefusalReason, StoreError, Table, TableSchema};

use super::*;

static SCHEMA: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "email", kind: ColumnKind::Text },
        Column { name: "position", kind: ColumnKind::Integer },
    ],
    indexes: &["email"],
};

#[tokio::test]
async fn foreign_objects_are_refused_and_named() {
    let foreign = [
        ("CREATE TABLE stolen (key BLOB)", "table `stolen`"),
        ("CREATE VIEW everything AS SELECT * FROM vault", "view `everything`"),
        ("CREATE INDEX extra ON events (request_id)", "index `extra` on `events`"),
        ("CREATE UNIQUE INDEX users_1_position ON users_1 (position)", "index `users_1_position`"),
        (
            "CREATE TRIGGER keeps BEFORE UPDATE ON vault BEGIN INSERT INTO meta VALUES ('k', hex(old.key)); END",
            "trigger `keeps` on `vault`",
        ),
        (
            "CREATE TRIGGER promotes AFTER INSERT ON users_1 BEGIN UPDATE users_1 SET email = 'x'; END",
            "trigger `promotes` on `users_1`",
        ),
        (
            "DROP TRIGGER events_are_never_changed;
             CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events BEGIN SELECT 1; END",
            "trigger `events_are_never_changed`",
        ),
        (
            "CREATE TABLE users_2 (\"id\" TEXT PRIMARY KEY NOT NULL, \"email\" TEXT DEFAULT 'x') STRICT",
            "table `users_2`",
        ),
    ];
    for (sql, named) in foreign {
        let database = Database::new();
        let (sqlite, log) = database.open().await;
        sqlite.prepare(&Table::of("users", 1, &SCHEMA)).await.unwrap();
        sqlite.ready().await.unwrap();
        log.close().await;
        let (_, log) = database.open().await;
        log.close().await;
        database.raw().execute_batch(sql).unwrap();
        let backend: Arc<dyn Backend> = sqlite.clone();
        let opened = EventStore::open(backend, database.master.clone(), Env::system()).await;
        for refused in [opened.map(drop), sqlite.ready().await] {
            let Err(StoreError::Refused(refusal @ RefusalReason::ForeignObject { .. })) = refused else {
                panic!("{sql}: {refused:?}");
            };
            let message = refusal.to_string();
            assert!(message.contains(named) && message.contains("DROP "), "{message}");
        }
    }
}

/// Until the schema is checked again, a trigger does not run for writes of the service.
#[tokio::test]
async fn foreign_triggers_do_not_run() {
    let database = Database::new();
    let (sqlite, _log) = database.open().await;
    let raw = database.raw();
    raw.execute_batch(
        "CREATE TABLE seen (name TEXT);
         CREATE TRIGGER copies AFTER INSERT ON meta BEGIN INSERT INTO seen VALUES (new.name); END",
    )
    .unwrap();
    sqlite.set_epoch(7).await.unwrap();
    let seen: i64 = raw.query_row("SELECT count(*) FROM seen", [], |row| row.get(0)).unwrap();
    assert_eq!((seen, sqlite.epoch().await.unwrap()), (0, 7));
}
