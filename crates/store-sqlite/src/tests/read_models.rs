use store::{ApplyError, Change, Checkpoint, Column, ColumnKind, Pair, Position, ReadModels, Table};

use super::*;

static USERS: Table = Table {
    name: "users_1",
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

static OTHERS: Table = Table { name: "users_1_b", columns: USERS.columns, indexes: USERS.indexes };
static PAIR: Pair = Pair { name: "users", tables: [&USERS, &OTHERS] };

fn change(key: &str, row: Value) -> Change {
    Change { key: key.to_owned(), row: Some(object(row)) }
}

#[tokio::test]
async fn rows_stand_in_typed_columns_and_nulls_are_left_out() {
    let database = Database::new();
    let sqlite = SqliteStore::open(&database.path()).unwrap();
    // Nothing prepared yet: empty, and at the start.
    assert_eq!(sqlite.checkpoint(&USERS).await.unwrap(), Checkpoint::default());
    assert!(sqlite.page(&USERS, None, 10).await.unwrap().is_empty());
    sqlite.prepare(&USERS).await.unwrap();
    sqlite.prepare(&USERS).await.unwrap();
    let ada = json!({"id": "a", "email": "ada@x", "position": -3, "active": true, "created_at": 1_700_000_000_123_i64,
        "roles": ["admin", "\"quoted\""]});
    let changes = vec![
        change("a", ada.clone()),
        change("b", json!({"id": "b", "email": null, "active": false, "roles": []})),
    ];
    sqlite.apply(&USERS, Checkpoint::default(), Position::new(2), changes).await.unwrap();
    let rows = sqlite.page(&USERS, None, 10).await.unwrap();
    assert_eq!(rows, [object(ada.clone()), object(json!({"id": "b", "active": false, "roles": []}))]);
    assert_eq!(sqlite.find(&USERS, "email", "ada@x").await.unwrap(), [object(ada)]);
    assert!(sqlite.find(&USERS, "roles", "[]").await.unwrap().is_empty());
    assert!(sqlite.find(&USERS, "none", "none").await.unwrap().is_empty());

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
async fn rows_move_only_from_where_the_writer_believes_them_to_be() {
    let database = Database::new();
    let (one, two) =
        (SqliteStore::open(&database.path()).unwrap(), SqliteStore::open(&database.path()).unwrap());
    one.prepare(&OTHERS).await.unwrap();
    one.switch(&PAIR, 0).await.unwrap();
    one.prepare(&USERS).await.unwrap();
    let start = Checkpoint::default();
    let row = |name: &str| vec![change(name, json!({"id": name}))];
    one.apply(&USERS, start, Position::new(5), row("a")).await.unwrap();
    let late = two.apply(&USERS, start, Position::new(4), row("b")).await;
    assert!(matches!(late, Err(ApplyError::Overtaken)));
    let emptied = two.reset(&PAIR, 1).await.unwrap();
    assert_eq!(emptied, Checkpoint { rebuilds: 1, position: Position::START });
    assert!(matches!(one.apply(&USERS, start, Position::new(6), row("c")).await, Err(ApplyError::Overtaken)));
    assert!(one.page(&USERS, None, 10).await.unwrap().is_empty());
    one.apply(&USERS, emptied, Position::new(6), row("d")).await.unwrap();
    let removal = vec![Change { key: "d".to_owned(), row: None }];
    let from = one.checkpoint(&USERS).await.unwrap();
    one.apply(&USERS, from, Position::new(7), removal).await.unwrap();
    assert!(two.rows(&USERS, &["d".to_owned()]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_row_that_does_not_fit_its_table_is_refused_whole() {
    let database = Database::new();
    let sqlite = SqliteStore::open(&database.path()).unwrap();
    sqlite.prepare(&USERS).await.unwrap();
    for wrong in
        [json!({"id": "a", "stranger": 1}), json!({"id": "a", "active": 1}), json!({"id": "a", "roles": [1]})]
    {
        let changes = vec![change("b", json!({"id": "b"})), change("a", wrong.clone())];
        let applied = sqlite.apply(&USERS, Checkpoint::default(), Position::new(1), changes).await;
        assert!(matches!(applied, Err(ApplyError::Store(_))), "{wrong}");
    }
    assert_eq!(sqlite.checkpoint(&USERS).await.unwrap(), Checkpoint::default());
    assert!(sqlite.page(&USERS, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn checkpoints_wake_those_who_follow_also_elsewhere() {
    let database = Database::new();
    let (one, two) =
        (SqliteStore::open(&database.path()).unwrap(), SqliteStore::open(&database.path()).unwrap());
    one.prepare(&USERS).await.unwrap();
    one.apply(&USERS, Checkpoint::default(), Position::new(3), Vec::new()).await.unwrap();
    let mut signals = store::Backend::signals(&two);
    signals.wait_for(|signal| signal.projected("users_1") == Position::new(3)).await.unwrap();
}
