//! Read models: rows and checkpoint are written atomically, by compare-and-set on the checkpoint.

use futures::future::join_all;
use serde_json::json;

use super::harness::{BackendHandle, Harness, TIMEOUT, append_writes};
use crate::append::ExpectedVersion;
use crate::error::{InternalError, StoreError, WriteError};
use crate::event::Position;
use crate::rows::{
    Column, ColumnKind, PrefixQuery, ProjectionCheckpoint, Row, RowChange, Table, TableSchema, TableWrite,
};
use crate::rows_digest::RowsDigest;
use crate::versions::ProjectionVersions;

static COLUMNS: [Column; 6] = [
    Column { name: "id", kind: ColumnKind::Text },
    Column { name: "label", kind: ColumnKind::Text },
    Column { name: "count", kind: ColumnKind::Integer },
    Column { name: "good", kind: ColumnKind::Boolean },
    Column { name: "made_at", kind: ColumnKind::Time },
    Column { name: "tags", kind: ColumnKind::TextList },
];
static SCHEMA: TableSchema = TableSchema { columns: &COLUMNS, indexes: &["label"] };

/// A version of the read model `things`.
pub(super) fn things(number: u64) -> Table {
    Table::of("things", number, &SCHEMA)
}

fn row(id: &str, label: &str) -> Row {
    json!({"id": id, "label": label}).as_object().unwrap().clone()
}

pub(super) fn change(id: &str, label: &str) -> RowChange {
    RowChange { key: id.to_owned(), row: Some(row(id, label)), digest: None, existed: false }
}

fn known(id: &str, label: &str) -> RowChange {
    RowChange { existed: true, ..change(id, label) }
}

pub(super) fn at(position: u64) -> ProjectionCheckpoint {
    ProjectionCheckpoint { position: Position::new(position), ..ProjectionCheckpoint::default() }
}

pub(super) async fn prepared(harness: &Harness) -> BackendHandle {
    let handle = harness.open_migrated().await;
    for table in [things(1), things(2)] {
        handle.rows.prepare(&table).await.unwrap();
        handle.rows.index(&table).await.unwrap();
    }
    handle
}

async fn labels(handle: &BackendHandle) -> Vec<String> {
    let rows = handle.rows.row_page(&things(1), None, 100).await.unwrap().rows;
    rows.iter().map(|row| row["label"].as_str().unwrap().to_owned()).collect()
}

/// Rows and checkpoint change together or not at all; rows are replaced as a whole and deleted.
pub async fn rows_and_checkpoint_are_written_atomically(harness: &Harness) {
    let handle = prepared(harness).await;
    let rows = &handle.rows;
    rows.prepare(&things(1)).await.unwrap();
    assert_eq!(rows.checkpoint(&things(1)).await.unwrap(), at(0));
    rows.apply(&things(1), at(0), at(5), vec![change("a", "one"), change("b", "two")]).await.unwrap();
    assert_eq!((rows.checkpoint(&things(1)).await.unwrap(), labels(&handle).await.len()), (at(5), 2));

    let stale = rows.apply(&things(1), at(4), at(9), vec![change("a", "wrong")]).await;
    assert!(matches!(stale, Err(WriteError::Conflict)), "{stale:?}");
    assert_eq!(
        (rows.checkpoint(&things(1)).await.unwrap(), labels(&handle).await),
        (at(5), vec!["one".into(), "two".into()])
    );

    let removal = RowChange { key: "a".to_owned(), row: None, digest: None, existed: true };
    rows.apply(&things(1), at(5), at(6), vec![removal, known("b", "three")]).await.unwrap();
    assert_eq!(
        (rows.checkpoint(&things(1)).await.unwrap(), labels(&handle).await),
        (at(6), vec!["three".to_owned()])
    );
    rows.apply(&things(1), at(6), at(7), Vec::new()).await.unwrap();
    assert_eq!(rows.checkpoint(&things(1)).await.unwrap(), at(7));
}

/// Ten projectors in two processes apply the same events; one writes.
pub async fn concurrent_projectors_one_writes(harness: &Harness) {
    let handles = [prepared(harness).await, prepared(harness).await];
    let table = things(1);
    for round in 0..5 {
        let racers = (0..10).map(|n| {
            let changes = vec![RowChange { existed: round > 0, ..change("a", &n.to_string()) }];
            handles[n % 2].rows.apply(&table, at(round), at(round + 1), changes)
        });
        let results = join_all(racers).await;
        let winner = results.iter().position(Result::is_ok).unwrap();
        let overtaken = results.iter().filter(|result| matches!(result, Err(WriteError::Conflict))).count();
        assert_eq!(overtaken, 9, "{results:?}");
        assert_eq!(labels(&handles[0]).await, [winner.to_string()]);
    }
}

/// Every kind of column is read back unchanged; null is the same as absent.
pub async fn every_column_kind_round_trips(harness: &Harness) {
    let handle = prepared(harness).await;
    let full = json!({"id": "a", "label": "Grüße 😀", "count": -7, "good": true, "made_at": 1_763_798_594_680_i64, "tags": ["x", "y"]});
    let sparse = json!({"id": "b", "label": null, "good": false, "tags": []});
    let write = |value: &serde_json::Value| RowChange {
        key: value["id"].as_str().unwrap().to_owned(),
        row: Some(value.as_object().unwrap().clone()),
        digest: None,
        existed: false,
    };
    handle.rows.apply(&things(1), at(0), at(1), vec![write(&full), write(&sparse)]).await.unwrap();
    let keys = ["a".to_owned(), "b".to_owned(), "missing".to_owned()];
    let read = handle.rows.rows(&things(1), &keys).await.unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(json!(read["a"]), full);
    assert_eq!(json!(read["b"]), json!({"id": "b", "good": false, "tags": []}));
}

/// A row with an unknown column is rejected, and the checkpoint does not change.
pub async fn row_with_unknown_column_is_rejected(harness: &Harness) {
    let handle = prepared(harness).await;
    let row = json!({"id": "a", "label": "x", "extra": 1}).as_object().unwrap().clone();
    let change = RowChange { key: "a".to_owned(), row: Some(row), digest: None, existed: false };
    let refused = handle.rows.apply(&things(1), at(0), at(1), vec![change]).await.unwrap_err();
    let undeclared = matches!(
        &refused,
        WriteError::Store(StoreError::Internal(InternalError::UndeclaredField { field, .. })) if field == "extra"
    );
    assert!(undeclared, "{refused}");
    assert_eq!(handle.rows.checkpoint(&things(1)).await.unwrap(), at(0));
}

/// Finds rows by an indexed text column, and pages by key.
pub async fn rows_are_found_by_index_and_by_page(harness: &Harness) {
    let handle = prepared(harness).await;
    let changes =
        (0..25).map(|n| change(&format!("{n:02}"), if n % 2 == 0 { "even" } else { "odd" })).collect();
    handle.rows.apply(&things(1), at(0), at(1), changes).await.unwrap();
    let ids = |rows: Vec<Row>| {
        rows.iter().map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!(
        ids(handle.rows.find(&things(1), "label", "odd").await.unwrap().rows),
        (0..12).map(|n| 2 * n + 1).collect::<Vec<_>>()
    );
    assert!(handle.rows.find(&things(1), "label", "Odd").await.unwrap().rows.is_empty());
    assert_eq!(ids(handle.rows.find(&things(1), "id", "07").await.unwrap().rows), [7], "by key");
    assert_eq!(
        ids(handle.rows.row_page(&things(1), None, 10).await.unwrap().rows),
        (0..10).collect::<Vec<_>>()
    );
    assert_eq!(
        ids(handle.rows.row_page(&things(1), Some("19"), 10).await.unwrap().rows),
        (20..25).collect::<Vec<_>>()
    );
}

/// Rows are found by the beginning of an indexed text, in the order of its code points, whatever the text contains;
/// pages neither skip a row nor repeat one, also while others are written.
pub async fn rows_are_found_by_prefix(harness: &Harness) {
    let handle = prepared(harness).await;
    let labels = [
        "",
        "a",
        "a%",
        "a_",
        "ab",
        "a\u{D7FF}",
        "a\u{D7FF}x",
        "a\u{E000}",
        "a\u{10FFFF}",
        "a\u{10FFFF}z",
        "b",
        "A",
        "ä",
        "äb",
        "a'\"",
        "a\\",
        "a.*",
        "日本",
        "日本語",
    ];
    let changes = labels.iter().zip(10..).map(|(label, id)| change(&id.to_string(), label));
    handle.rows.apply(&things(1), at(0), at(1), changes.collect()).await.unwrap();
    let page = async |prefix: &str, after: Option<&str>, limit| {
        let query = PrefixQuery {
            column: "label",
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            limit,
        };
        let page = handle.rows.prefix_page(&things(1), &query).await.unwrap();
        assert_eq!(page.checkpoint, at(1));
        page.rows.iter().map(|row| row["label"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for prefix in
        ["", "a", "a%", "a_", "a\u{D7FF}", "a\u{10FFFF}", "ä", "日本", "a'", "a\\", "a.", "c", "\u{10FFFF}"]
    {
        let mut expected: Vec<_> = labels.into_iter().filter(|label| label.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(page(prefix, None, 100).await, expected, "{prefix:?}");
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let found = page(prefix, after.as_deref(), 2).await;
            let Some(last) = found.last() else { break };
            after = Some(last.clone());
            paged.extend(found);
        }
        assert_eq!(paged, expected, "{prefix:?} in pages");
    }
    assert_eq!(page("a", Some("A"), 1).await, ["a"], "a value below the prefix");
    assert_eq!(page("a", Some("b"), 1).await, [""; 0], "a value above the prefix");
    assert_eq!(page("a", None, 0).await, [""; 0]);
    handle.rows.remove(&things(1)).await.unwrap();
    let query = PrefixQuery { column: "label", prefix: "a".to_owned(), after: None, limit: 1 };
    let removed = handle.rows.prefix_page(&things(1), &query).await.unwrap().checkpoint;
    assert_eq!(removed, ProjectionCheckpoint::removed());
}

/// Checkpoints and versions written by one process notify watchers in another.
pub async fn checkpoints_of_another_process_wake_watchers(harness: &Harness) {
    let (projector, watcher) = (prepared(harness).await, prepared(harness).await);
    let mut updates = watcher.log.watch_progress();
    for position in 1..=5 {
        projector.rows.apply(&things(1), at(position - 1), at(position), Vec::new()).await.unwrap();
        let woken =
            updates.wait_for(|progress| progress.applied_position("things_1") >= Position::new(position));
        tokio::time::timeout(TIMEOUT, woken).await.unwrap().unwrap();
    }
    projector
        .rows
        .change_versions("things", &ProjectionVersions::first(1, "test", harness.now()), None)
        .await
        .unwrap();
    let heard = updates.wait_for(|progress| progress.versions.contains_key("things"));
    tokio::time::timeout(TIMEOUT, heard).await.unwrap().unwrap();
}

/// Rows come with the checkpoint, digest included, and the head of the log of the same snapshot.
pub async fn slice_carries_its_checkpoint(harness: &Harness) {
    let handle = prepared(harness).await;
    let digest = RowsDigest::default().plus(&row("a", "one"));
    let to = ProjectionCheckpoint { digest, ..at(5) };
    handle.rows.apply(&things(1), at(0), to, vec![change("a", "one")]).await.unwrap();
    assert_eq!(handle.rows.checkpoint(&things(1)).await.unwrap(), to);
    let slice = handle.rows.row_page(&things(1), None, 10).await.unwrap();
    assert_eq!((slice.checkpoint, slice.rows), (to, vec![row("a", "one")]));
    let beyond = handle.rows.row_page(&things(1), Some("a"), 10).await.unwrap();
    assert_eq!((beyond.checkpoint, beyond.rows), (to, Vec::new()));
    for (label, rows) in [("one", vec![row("a", "one")]), ("none", Vec::new())] {
        let found = handle.rows.find(&things(1), "label", label).await.unwrap();
        assert_eq!((found.checkpoint, found.head, found.rows), (to, Position::START, rows));
    }
    let store = harness.open_store().await;
    let write = harness.write(&harness.new_stream(), ExpectedVersion::NoStream);
    let head = append_writes(&store, [write]).await.unwrap().position;
    assert_eq!(handle.rows.find(&things(1), "label", "one").await.unwrap().head, head);
    assert_eq!(handle.rows.row_page(&things(1), None, 10).await.unwrap().head, head);
    handle.rows.remove(&things(1)).await.unwrap();
    let removed = ProjectionCheckpoint::removed();
    assert_eq!(handle.rows.find(&things(1), "label", "one").await.unwrap().checkpoint, removed);
    assert_eq!(handle.rows.row_page(&things(1), None, 10).await.unwrap().checkpoint, removed);
}

/// One transaction writes the rows of several tables, or, after a conflict in one of them, of none.
pub async fn tables_are_written_together_or_not_at_all(harness: &Harness) {
    let handle = prepared(harness).await;
    handle.rows.prepare(&things(2)).await.unwrap();
    let write = |number, from, to, label: &str| TableWrite {
        table: things(number),
        from: at(from),
        to: at(to),
        changes: vec![change("a", label)],
    };
    handle.rows.apply_all(vec![write(1, 0, 3, "one"), write(2, 0, 3, "two")]).await.unwrap();
    for order in [[1, 2], [2, 1]] {
        // The second table is not where its writer believes.
        let writes = order.map(|number| write(number, if number == 1 { 3 } else { 2 }, 9, "wrong"));
        let refused = handle.rows.apply_all(writes.into()).await;
        assert!(matches!(refused, Err(WriteError::Conflict)), "{refused:?}");
    }
    for (number, label) in [(1, "one"), (2, "two")] {
        let page = handle.rows.row_page(&things(number), None, 10).await.unwrap();
        assert_eq!((page.checkpoint, page.rows), (at(3), vec![row("a", label)]));
        assert_eq!(handle.rows.checkpoint(&things(number)).await.unwrap(), at(3));
    }
}

/// A row that existed is replaced, and restored if it was deleted by hand in the meantime.
pub async fn known_row_is_upserted(harness: &Harness) {
    let handle = prepared(harness).await;
    handle.rows.apply(&things(1), at(0), at(1), vec![change("a", "one")]).await.unwrap();
    handle.rows.apply(&things(1), at(1), at(2), vec![known("a", "two"), known("b", "lost")]).await.unwrap();
    assert_eq!(labels(&handle).await, ["two", "lost"]);
}
