use store::{
    Column, ColumnKind, Position, ProjectionCheckpoint, ReadModelStore, RowChange, Table, TableSchema,
    WriteError,
};

use super::*;
use crate::checkpoints::checkpoints_in_use;

static SCHEMA: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "email", kind: ColumnKind::Text },
        Column { name: "position", kind: ColumnKind::Integer },
        Column { name: "active", kind: ColumnKind::Boolean },
        Column { name: "created_at", kind: ColumnKind::Time },
        Column { name: "roles", kind: ColumnKind::TextList },
    ],
    indexes: &["email"],
};

fn users() -> Table {
    Table::of("users", 1, &SCHEMA)
}

fn at(position: u64) -> ProjectionCheckpoint {
    ProjectionCheckpoint { position: Position::new(position), ..ProjectionCheckpoint::default() }
}

fn change(key: &str, row: Value) -> RowChange {
    RowChange { key: key.to_owned(), row: Some(object(row)), digest: None, existed: false }
}

#[tokio::test]
async fn rows_use_typed_columns_and_omit_nulls() {
    let database = Database::new();
    let sqlite = SqliteStore::open(&database.path()).unwrap();
    // Before `prepare`: empty, and at the start.
    assert_eq!(sqlite.checkpoint(&users()).await.unwrap(), ProjectionCheckpoint::default());
    assert!(sqlite.row_page(&users(), None, 10).await.unwrap().rows.is_empty());
    sqlite.prepare(&users()).await.unwrap();
    sqlite.prepare(&users()).await.unwrap();
    let ada = json!({"id": "a", "email": "ada@x", "position": -3, "active": true, "created_at": 1_700_000_000_123_i64,
        "roles": ["admin", "\"quoted\""]});
    let changes = vec![
        change("a", ada.clone()),
        change("b", json!({"id": "b", "email": null, "active": false, "roles": []})),
    ];
    sqlite.apply(&users(), at(0), at(2), changes).await.unwrap();
    let rows = sqlite.row_page(&users(), None, 10).await.unwrap().rows;
    assert_eq!(rows, [object(ada.clone()), object(json!({"id": "b", "active": false, "roles": []}))]);
    assert_eq!(sqlite.find(&users(), "email", "ada@x").await.unwrap().rows, [object(ada)]);
    assert!(sqlite.find(&users(), "roles", "[]").await.unwrap().rows.is_empty());
    assert!(sqlite.find(&users(), "none", "none").await.unwrap().rows.is_empty());

    let raw = database.raw();
    let types: String = raw
        .query_row(
            "SELECT group_concat(typeof(email) || typeof(active) || typeof(created_at) || typeof(roles)) FROM users_1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(types, "textintegerintegertext,nullintegernulltext");
    let indexed = "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'users_1_email'";
    raw.query_row(indexed, [], |_| Ok(())).unwrap();
}

#[tokio::test]
async fn table_without_checkpoint_is_emptied() {
    let database = Database::new();
    let sqlite = SqliteStore::open(&database.path()).unwrap();
    sqlite.prepare(&users()).await.unwrap();
    sqlite.apply(&users(), at(0), at(1), vec![change("a", json!({"id": "a"}))]).await.unwrap();
    database.raw().execute("DELETE FROM checkpoints", []).unwrap();
    sqlite.prepare(&users()).await.unwrap();
    assert!(
        sqlite.row_page(&users(), None, 10).await.unwrap().rows.is_empty(),
        "rows without a checkpoint are deleted"
    );
}

#[tokio::test]
async fn invalid_row_rejects_the_whole_batch() {
    let database = Database::new();
    let sqlite = SqliteStore::open(&database.path()).unwrap();
    sqlite.prepare(&users()).await.unwrap();
    for wrong in
        [json!({"id": "a", "unknown": 1}), json!({"id": "a", "active": 1}), json!({"id": "a", "roles": [1]})]
    {
        let changes = vec![change("b", json!({"id": "b"})), change("a", wrong.clone())];
        let applied = sqlite.apply(&users(), at(0), at(1), changes).await;
        assert!(matches!(applied, Err(WriteError::Store(_))), "{wrong}");
    }
    assert_eq!(sqlite.checkpoint(&users()).await.unwrap(), ProjectionCheckpoint::default());
    assert!(sqlite.row_page(&users(), None, 10).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn checkpoint_is_seen_by_another_process() {
    let database = Database::new();
    let (one, two) =
        (SqliteStore::open(&database.path()).unwrap(), SqliteStore::open(&database.path()).unwrap());
    one.prepare(&users()).await.unwrap();
    one.apply(&users(), at(0), at(3), Vec::new()).await.unwrap();
    let mut updates = store::Backend::watch_progress(&two);
    updates.wait_for(|progress| progress.applied_position("users_1") == Position::new(3)).await.unwrap();
}

#[tokio::test]
async fn polls_read_no_checkpoint_of_a_removed_table() {
    let database = Database::new();
    let sqlite = SqliteStore::open(&database.path()).unwrap();
    sqlite.prepare(&users()).await.unwrap();
    for number in 2..12 {
        let table = Table::of("users", number, &SCHEMA);
        sqlite.prepare(&table).await.unwrap();
        sqlite.remove(&table).await.unwrap();
    }
    let raw = database.raw();
    let stored: i64 = raw.query_row("SELECT count(*) FROM checkpoints", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, 11, "removed tables are remembered");
    let read = checkpoints_in_use(&raw).unwrap();
    assert_eq!(read.iter().map(|(table, _)| table.as_str()).collect::<Vec<_>>(), ["users_1"]);
}
