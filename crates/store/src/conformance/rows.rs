//! Read models: rows and checkpoint are one, and only one projector can be right about where the checkpoint is.

use futures::future::join_all;
use serde_json::json;

use super::world::{Handle, PATIENCE, World};
use crate::error::StoreError;
use crate::event::Position;
use crate::rows::{ApplyError, Change, Checkpoint, Column, ColumnKind, Row, Shape, Table};
use crate::rows_digest::RowsDigest;
use crate::versions::Versions;

static COLUMNS: [Column; 6] = [
    Column { name: "id", kind: ColumnKind::Text },
    Column { name: "label", kind: ColumnKind::Text },
    Column { name: "count", kind: ColumnKind::Integer },
    Column { name: "good", kind: ColumnKind::Boolean },
    Column { name: "made_at", kind: ColumnKind::Time },
    Column { name: "tags", kind: ColumnKind::TextList },
];
static SHAPE: Shape = Shape { columns: &COLUMNS, indexes: &["label"] };

/// A version of the read model `things`.
pub(super) fn things(number: u64) -> Table {
    Table::of("things", number, &SHAPE)
}

fn row(id: &str, label: &str) -> Row {
    json!({"id": id, "label": label}).as_object().unwrap().clone()
}

pub(super) fn change(id: &str, label: &str) -> Change {
    Change { key: id.to_owned(), row: Some(row(id, label)), known: false }
}

fn known(id: &str, label: &str) -> Change {
    Change { known: true, ..change(id, label) }
}

pub(super) fn at(position: u64) -> Checkpoint {
    Checkpoint { position: Position::new(position), ..Checkpoint::default() }
}

pub(super) async fn prepared(world: &World) -> Handle {
    let handle = world.handle().await;
    for table in [things(1), things(2)] {
        handle.rows.prepare(&table).await.unwrap();
        handle.rows.index(&table).await.unwrap();
    }
    handle
}

async fn labels(handle: &Handle) -> Vec<String> {
    let rows = handle.rows.slice(&things(1), None, 100).await.unwrap().rows;
    rows.iter().map(|row| row["label"].as_str().unwrap().to_owned()).collect()
}

/// Either both move or neither; rows are replaced whole, and removed.
pub async fn rows_and_checkpoint_move_together(world: &World) {
    let handle = prepared(world).await;
    let rows = &handle.rows;
    rows.prepare(&things(1)).await.unwrap();
    assert_eq!(rows.checkpoint(&things(1)).await.unwrap(), at(0));
    rows.apply(&things(1), at(0), at(5), vec![change("a", "one"), change("b", "two")]).await.unwrap();
    assert_eq!((rows.checkpoint(&things(1)).await.unwrap(), labels(&handle).await.len()), (at(5), 2));

    let stale = rows.apply(&things(1), at(4), at(9), vec![change("a", "wrong")]).await;
    assert!(matches!(stale, Err(ApplyError::Overtaken)), "{stale:?}");
    assert_eq!(
        (rows.checkpoint(&things(1)).await.unwrap(), labels(&handle).await),
        (at(5), vec!["one".into(), "two".into()])
    );

    let removal = Change { key: "a".to_owned(), row: None, known: true };
    rows.apply(&things(1), at(5), at(6), vec![removal, known("b", "three")]).await.unwrap();
    assert_eq!(
        (rows.checkpoint(&things(1)).await.unwrap(), labels(&handle).await),
        (at(6), vec!["three".to_owned()])
    );
    rows.apply(&things(1), at(6), at(7), Vec::new()).await.unwrap();
    assert_eq!(rows.checkpoint(&things(1)).await.unwrap(), at(7));
}

/// Ten projectors in two processes fold the same events: one writes.
pub async fn of_racing_projectors_exactly_one_writes(world: &World) {
    let handles = [prepared(world).await, prepared(world).await];
    let table = things(1);
    for round in 0..5 {
        let racers = (0..10).map(|n| {
            let changes = vec![Change { known: round > 0, ..change("a", &n.to_string()) }];
            handles[n % 2].rows.apply(&table, at(round), at(round + 1), changes)
        });
        let results = join_all(racers).await;
        let winner = results.iter().position(Result::is_ok).unwrap();
        let overtaken = results.iter().filter(|result| matches!(result, Err(ApplyError::Overtaken))).count();
        assert_eq!(overtaken, 9, "{results:?}");
        assert_eq!(labels(&handles[0]).await, [winner.to_string()]);
    }
}

/// Every kind of field reads back as it was written; null is the same as absent.
pub async fn every_kind_of_column_comes_back(world: &World) {
    let handle = prepared(world).await;
    let full = json!({"id": "a", "label": "Grüße 😀", "count": -7, "good": true, "made_at": 1_763_798_594_680_i64, "tags": ["x", "y"]});
    let sparse = json!({"id": "b", "label": null, "good": false, "tags": []});
    let write = |value: &serde_json::Value| Change {
        key: value["id"].as_str().unwrap().to_owned(),
        row: Some(value.as_object().unwrap().clone()),
        known: false,
    };
    handle.rows.apply(&things(1), at(0), at(1), vec![write(&full), write(&sparse)]).await.unwrap();
    let keys = ["a".to_owned(), "b".to_owned(), "missing".to_owned()];
    let read = handle.rows.rows(&things(1), &keys).await.unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(json!(read["a"]), full);
    assert_eq!(json!(read["b"]), json!({"id": "b", "good": false, "tags": []}));
}

/// A row that does not fit is refused, and the checkpoint stays where it was.
pub async fn a_row_without_a_place_is_refused(world: &World) {
    let handle = prepared(world).await;
    let row = json!({"id": "a", "label": "x", "stranger": 1}).as_object().unwrap().clone();
    let change = Change { key: "a".to_owned(), row: Some(row), known: false };
    let refused = handle.rows.apply(&things(1), at(0), at(1), vec![change]).await.unwrap_err();
    let corrupt = matches!(&refused, ApplyError::Store(StoreError::Corrupt(why)) if why.contains("stranger"));
    assert!(corrupt, "{refused}");
    assert_eq!(handle.rows.checkpoint(&things(1)).await.unwrap(), at(0));
}

/// By the text of an indexed column, and in pages by key.
pub async fn rows_are_found_by_index_and_by_page(world: &World) {
    let handle = prepared(world).await;
    let changes =
        (0..25).map(|n| change(&format!("{n:02}"), if n % 2 == 0 { "even" } else { "odd" })).collect();
    handle.rows.apply(&things(1), at(0), at(1), changes).await.unwrap();
    let ids = |rows: Vec<Row>| {
        rows.iter().map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!(
        ids(handle.rows.find(&things(1), "label", "odd").await.unwrap()),
        (0..12).map(|n| 2 * n + 1).collect::<Vec<_>>()
    );
    assert!(handle.rows.find(&things(1), "label", "Odd").await.unwrap().is_empty());
    assert_eq!(ids(handle.rows.slice(&things(1), None, 10).await.unwrap().rows), (0..10).collect::<Vec<_>>());
    assert_eq!(
        ids(handle.rows.slice(&things(1), Some("19"), 10).await.unwrap().rows),
        (20..25).collect::<Vec<_>>()
    );
}

/// Who waits for a projection hears of it, whoever projects.
pub async fn watchers_hear_of_checkpoints_of_another_process(world: &World) {
    let (projector, watcher) = (prepared(world).await, prepared(world).await);
    let mut signals = watcher.log.signals();
    for position in 1..=5 {
        projector.rows.apply(&things(1), at(position - 1), at(position), Vec::new()).await.unwrap();
        let woken = signals.wait_for(|signal| signal.projected("things_1") >= Position::new(position));
        tokio::time::timeout(PATIENCE, woken).await.unwrap().unwrap();
    }
    projector.rows.change_versions("things", &Versions::first(1, "test", world.now()), None).await.unwrap();
    let heard = signals.wait_for(|signal| signal.versions.contains_key("things"));
    tokio::time::timeout(PATIENCE, heard).await.unwrap().unwrap();
}

/// The digest stands with the checkpoint, and so does what a slice was made of.
pub async fn a_slice_says_what_it_is_made_of(world: &World) {
    let handle = prepared(world).await;
    let digest = RowsDigest::default().plus(&row("a", "one"));
    let to = Checkpoint { digest, ..at(5) };
    handle.rows.apply(&things(1), at(0), to, vec![change("a", "one")]).await.unwrap();
    assert_eq!(handle.rows.checkpoint(&things(1)).await.unwrap(), to);
    let slice = handle.rows.slice(&things(1), None, 10).await.unwrap();
    assert_eq!((slice.checkpoint, slice.rows), (to, vec![row("a", "one")]));
    let beyond = handle.rows.slice(&things(1), Some("a"), 10).await.unwrap();
    assert_eq!((beyond.checkpoint, beyond.rows), (to, Vec::new()));
}

/// A row that was read before is replaced, and one that somebody has removed by hand meanwhile comes back.
pub async fn a_known_row_is_written_whether_it_is_there_or_not(world: &World) {
    let handle = prepared(world).await;
    handle.rows.apply(&things(1), at(0), at(1), vec![change("a", "one")]).await.unwrap();
    handle.rows.apply(&things(1), at(1), at(2), vec![known("a", "two"), known("b", "lost")]).await.unwrap();
    assert_eq!(labels(&handle).await, ["two", "lost"]);
}
