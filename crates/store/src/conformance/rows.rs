//! Read models: rows and checkpoint are one, and only one projector can be right about where the checkpoint is.

use futures::future::join_all;
use serde_json::json;

use super::world::{Handle, PATIENCE, World};
use crate::error::StoreError;
use crate::event::Position;
use crate::rows::{ApplyError, Change, Checkpoint, Column, ColumnKind, Pair, Row, Table};

static COLUMNS: [Column; 6] = [
    Column { name: "id", kind: ColumnKind::Text },
    Column { name: "label", kind: ColumnKind::Text },
    Column { name: "count", kind: ColumnKind::Integer },
    Column { name: "good", kind: ColumnKind::Boolean },
    Column { name: "made_at", kind: ColumnKind::Time },
    Column { name: "tags", kind: ColumnKind::TextList },
];
static THINGS: Table = Table { name: "things_1", columns: &COLUMNS, indexes: &["label"] };
static OTHERS: Table = Table { name: "things_1_b", columns: &COLUMNS, indexes: &["label"] };
static PAIR: Pair = Pair { name: "things", tables: [&THINGS, &OTHERS] };

fn row(id: &str, label: &str) -> Row {
    json!({"id": id, "label": label}).as_object().unwrap().clone()
}

fn change(id: &str, label: &str) -> Change {
    Change { key: id.to_owned(), row: Some(row(id, label)) }
}

fn at(position: u64) -> Checkpoint {
    Checkpoint { rebuilds: 0, position: Position::new(position) }
}

async fn prepared(world: &World) -> Handle {
    let handle = world.handle().await;
    handle.rows.prepare(&THINGS).await.unwrap();
    handle.rows.prepare(&OTHERS).await.unwrap();
    handle
}

async fn labels(handle: &Handle) -> Vec<String> {
    let rows = handle.rows.page(&THINGS, None, 100).await.unwrap();
    rows.iter().map(|row| row["label"].as_str().unwrap().to_owned()).collect()
}

/// Either both move or neither; rows are replaced whole, and removed.
pub async fn rows_and_checkpoint_move_together(world: &World) {
    let handle = prepared(world).await;
    let rows = &handle.rows;
    rows.prepare(&THINGS).await.unwrap();
    assert_eq!(rows.checkpoint(&THINGS).await.unwrap(), at(0));
    rows.apply(&THINGS, at(0), Position::new(5), vec![change("a", "one"), change("b", "two")]).await.unwrap();
    assert_eq!((rows.checkpoint(&THINGS).await.unwrap(), labels(&handle).await.len()), (at(5), 2));

    let stale = rows.apply(&THINGS, at(4), Position::new(9), vec![change("a", "wrong")]).await;
    assert!(matches!(stale, Err(ApplyError::Overtaken)), "{stale:?}");
    assert_eq!(
        (rows.checkpoint(&THINGS).await.unwrap(), labels(&handle).await),
        (at(5), vec!["one".into(), "two".into()])
    );

    let removal = Change { key: "a".to_owned(), row: None };
    rows.apply(&THINGS, at(5), Position::new(6), vec![removal, change("b", "three")]).await.unwrap();
    assert_eq!(
        (rows.checkpoint(&THINGS).await.unwrap(), labels(&handle).await),
        (at(6), vec!["three".to_owned()])
    );
    rows.apply(&THINGS, at(6), Position::new(7), Vec::new()).await.unwrap();
    assert_eq!(rows.checkpoint(&THINGS).await.unwrap(), at(7));
}

/// Ten projectors in two processes fold the same events: one writes.
pub async fn of_racing_projectors_exactly_one_writes(world: &World) {
    let handles = [prepared(world).await, prepared(world).await];
    for round in 0..5 {
        let racers = (0..10).map(|n| {
            let changes = vec![change("a", &n.to_string())];
            handles[n % 2].rows.apply(&THINGS, at(round), Position::new(round + 1), changes)
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
    };
    handle.rows.apply(&THINGS, at(0), Position::new(1), vec![write(&full), write(&sparse)]).await.unwrap();
    let keys = ["a".to_owned(), "b".to_owned(), "missing".to_owned()];
    let read = handle.rows.rows(&THINGS, &keys).await.unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(json!(read["a"]), full);
    assert_eq!(json!(read["b"]), json!({"id": "b", "good": false, "tags": []}));
}

/// A row that does not fit is refused, and the checkpoint stays where it was.
pub async fn a_row_without_a_place_is_refused(world: &World) {
    let handle = prepared(world).await;
    let row = json!({"id": "a", "label": "x", "stranger": 1}).as_object().unwrap().clone();
    let change = Change { key: "a".to_owned(), row: Some(row) };
    let refused = handle.rows.apply(&THINGS, at(0), Position::new(1), vec![change]).await.unwrap_err();
    let corrupt = matches!(&refused, ApplyError::Store(StoreError::Corrupt(why)) if why.contains("stranger"));
    assert!(corrupt, "{refused}");
    assert_eq!(handle.rows.checkpoint(&THINGS).await.unwrap(), at(0));
}

/// By the text of an indexed column, and in pages by key.
pub async fn rows_are_found_by_index_and_by_page(world: &World) {
    let handle = prepared(world).await;
    let changes =
        (0..25).map(|n| change(&format!("{n:02}"), if n % 2 == 0 { "even" } else { "odd" })).collect();
    handle.rows.apply(&THINGS, at(0), Position::new(1), changes).await.unwrap();
    let ids = |rows: Vec<Row>| {
        rows.iter().map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!(
        ids(handle.rows.find(&THINGS, "label", "odd").await.unwrap()),
        (0..12).map(|n| 2 * n + 1).collect::<Vec<_>>()
    );
    assert!(handle.rows.find(&THINGS, "label", "Odd").await.unwrap().is_empty());
    assert_eq!(ids(handle.rows.page(&THINGS, None, 10).await.unwrap()), (0..10).collect::<Vec<_>>());
    assert_eq!(ids(handle.rows.page(&THINGS, Some("19"), 10).await.unwrap()), (20..25).collect::<Vec<_>>());
}

/// A reset empties the idle table; whoever still believes in the old checkpoint writes nothing.
pub async fn a_reset_table_is_empty_and_starts_again(world: &World) {
    let handle = prepared(world).await;
    let rows = &handle.rows;
    let changes = (0..2500).map(|n| change(&n.to_string(), "x")).collect();
    rows.apply(&OTHERS, at(0), Position::new(5), changes).await.unwrap();
    rows.apply(&THINGS, at(0), Position::new(5), vec![change("live", "live")]).await.unwrap();
    let fresh = rows.reset(&PAIR, 0).await.unwrap();
    assert_eq!(fresh, Checkpoint { rebuilds: 1, position: Position::START });
    assert_eq!(rows.checkpoint(&OTHERS).await.unwrap(), fresh);
    assert!(rows.page(&OTHERS, None, 10).await.unwrap().is_empty());
    for stale in [at(5), at(0)] {
        let refused = rows.apply(&OTHERS, stale, Position::new(6), vec![change("a", "old")]).await;
        assert!(matches!(refused, Err(ApplyError::Overtaken)), "{refused:?}");
    }
    rows.apply(&OTHERS, fresh, Position::new(5), vec![change("a", "new")]).await.unwrap();
    assert_eq!(rows.page(&OTHERS, None, 10).await.unwrap().len(), 1);
    assert_eq!(
        (rows.checkpoint(&THINGS).await.unwrap(), labels(&handle).await),
        (at(5), vec!["live".to_owned()])
    );
}

/// The idle table becomes the live one only when it is as far, and only once; what is live is never emptied.
pub async fn a_pair_is_switched_once_and_never_back_in_time(world: &World) {
    let handles = [prepared(world).await, prepared(world).await];
    let rows = &handles[0].rows;
    assert_eq!(rows.switches(&PAIR).await.unwrap(), 0);
    rows.apply(&THINGS, at(0), Position::new(5), vec![change("a", "one")]).await.unwrap();
    let early = rows.switch(&PAIR, 0).await;
    assert!(matches!(early, Err(ApplyError::Overtaken)), "the idle table is behind: {early:?}");
    rows.apply(&OTHERS, at(0), Position::new(5), vec![change("a", "two")]).await.unwrap();

    let racers = (0..6).map(|n| handles[n % 2].rows.switch(&PAIR, 0));
    let results = join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|r| matches!(r, Ok(()) | Err(ApplyError::Overtaken))), "{results:?}");
    let mut signals = handles[1].log.signals();
    let heard = signals.wait_for(|signal| signal.switches(PAIR.name) == 1);
    tokio::time::timeout(PATIENCE, heard).await.unwrap().unwrap();
    assert_eq!(handles[1].rows.switches(&PAIR).await.unwrap(), 1);
    assert_eq!(PAIR.live(1).name, OTHERS.name);

    let late = rows.reset(&PAIR, 0).await;
    assert!(matches!(late, Err(ApplyError::Overtaken)), "that table is live now: {late:?}");
    assert_eq!(rows.page(&OTHERS, None, 10).await.unwrap().len(), 1);
    rows.reset(&PAIR, 1).await.unwrap();
    assert!(rows.page(&THINGS, None, 10).await.unwrap().is_empty());
}

/// Who waits for a projection hears of it, whoever projects.
pub async fn watchers_hear_of_checkpoints_of_another_process(world: &World) {
    let (projector, watcher) = (prepared(world).await, prepared(world).await);
    let mut signals = watcher.log.signals();
    for position in 1..=5 {
        projector.rows.apply(&THINGS, at(position - 1), Position::new(position), Vec::new()).await.unwrap();
        let woken = signals.wait_for(|signal| signal.projected(THINGS.name) >= Position::new(position));
        tokio::time::timeout(PATIENCE, woken).await.unwrap().unwrap();
    }
    projector.rows.apply(&OTHERS, at(0), Position::new(5), Vec::new()).await.unwrap();
    projector.rows.reset(&PAIR, 0).await.unwrap();
    let reset = signals.wait_for(|signal| {
        signal.checkpoints.get(OTHERS.name) == Some(&Checkpoint { rebuilds: 1, position: Position::START })
    });
    tokio::time::timeout(PATIENCE, reset).await.unwrap().unwrap();
}
