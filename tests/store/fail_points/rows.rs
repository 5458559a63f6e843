//! Faults in the commands that write rows of a read model.

use serde_json::json;
use store::{
    Column, ColumnKind, Position, ProjectionCheckpoint, ReadModelStore, RowChange, Table, TableSchema,
    WriteError,
};
use testkit::MongodServer;

use super::injected_fault::Fault::{
    Closed, Conflict, Interrupted, Silent, Slow, Transient, Unanswered, UnknownCommit, WriteConcern,
};
use super::injected_fault::{FAULTED_PROCESS, TargetCommand};
use super::runner::ExpectedOutcome::{self, Done, NotDone, Open, Unknown, UnknownButDone};
use super::runner::{FaultCase, Observed, TestCase, TimeoutCase, expand, run_all};
use crate::support::MongoFixture;

static SCHEMA: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "label", kind: ColumnKind::Text },
    ],
    indexes: &["label"],
};

fn things() -> Table {
    Table::of("things", 1, &SCHEMA)
}

/// The first command of the transaction.
const CHECKPOINT: TargetCommand = on("update", "checkpoints");
const NEW: TargetCommand = on("insert", "things_1");
const CHANGED: TargetCommand = on("update", "things_1");
const REMOVED: TargetCommand = on("delete", "things_1");
const COMMIT: TargetCommand = TargetCommand { command: "commitTransaction", collection: None };

const fn on(command: &'static str, collection: &'static str) -> TargetCommand {
    TargetCommand { command, collection: Some(collection) }
}

const ROWS: &[FaultCase] = &[
    (CHECKPOINT, Transient, [Done, Done, NotDone]),
    (CHECKPOINT, UnknownCommit, [NotDone, NotDone, NotDone]),
    (CHECKPOINT, Conflict, [Done, Done, NotDone]),
    (CHECKPOINT, Interrupted, [Done, Done, NotDone]),
    (CHECKPOINT, Closed, [Done, Done, NotDone]),
    (CHECKPOINT, WriteConcern, [Done, Done, Done]),
    (CHECKPOINT, Slow, [Done, Done, Done]),
    (NEW, Transient, [Done, Done, NotDone]),
    (NEW, UnknownCommit, [NotDone, NotDone, NotDone]),
    (NEW, Conflict, [Done, Done, NotDone]),
    (NEW, Interrupted, [Done, Done, NotDone]),
    (NEW, Closed, [Done, Done, NotDone]),
    (NEW, WriteConcern, [NotDone, NotDone, NotDone]),
    (NEW, Slow, [Done, Done, Done]),
    (CHANGED, Transient, [Done, Done, NotDone]),
    (CHANGED, UnknownCommit, [NotDone, NotDone, NotDone]),
    (CHANGED, Conflict, [Done, Done, NotDone]),
    (CHANGED, Interrupted, [Done, Done, NotDone]),
    (CHANGED, Closed, [Done, Done, NotDone]),
    (CHANGED, WriteConcern, [Done, Done, Done]),
    (CHANGED, Slow, [Done, Done, Done]),
    (REMOVED, Transient, [Done, Done, NotDone]),
    (REMOVED, UnknownCommit, [NotDone, NotDone, NotDone]),
    (REMOVED, Conflict, [Done, Done, NotDone]),
    (REMOVED, Interrupted, [Done, Done, NotDone]),
    (REMOVED, Closed, [Done, Done, NotDone]),
    (REMOVED, WriteConcern, [NotDone, NotDone, NotDone]),
    (REMOVED, Slow, [Done, Done, Done]),
    (COMMIT, Transient, [Done, Open, Open]),
    (COMMIT, UnknownCommit, [Done, Done, Unknown]),
    (COMMIT, Conflict, [Done, Open, Open]),
    (COMMIT, Interrupted, [Done, Done, Unknown]),
    (COMMIT, Closed, [Done, Done, Unknown]),
    (COMMIT, WriteConcern, [Done, Done, UnknownButDone]),
    (COMMIT, Slow, [Done, Done, Done]),
];

const LATE_ROWS: &[TimeoutCase] = &[
    (CHECKPOINT, Silent, NotDone),
    (NEW, Silent, NotDone),
    (CHANGED, Silent, NotDone),
    (REMOVED, Silent, NotDone),
    (COMMIT, Silent, Unknown),
    (COMMIT, Unanswered, UnknownButDone),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faulted_row_write_is_atomic_with_its_checkpoint() {
    run_all(expand(ROWS, LATE_ROWS), attempt).await;
}

async fn attempt(server: &MongodServer, case: TestCase) {
    let mongo = MongoFixture::on(server);
    let (subject, observer) = (mongo.process(FAULTED_PROCESS).await, mongo.process("observer").await);
    let (writing, watching) = (subject.rows(), observer.rows());
    for rows in [writing, watching] {
        rows.prepare(&things()).await.unwrap();
    }
    let before = [change("a", Some("one")), change("b", Some("two"))];
    writing.apply(&things(), at(0), at(5), before.into()).await.unwrap();

    let namespace = case.target.collection.map(|collection| mongo.namespace(collection));
    let fail_point = case.fault.set(server, case.failing, case.target, namespace).await;
    let answer = apply(writing).await;
    let hits = fail_point.clear().await;
    assert!(hits > 0, "the fault was not triggered");
    // This write settles a pending transaction, because only one can lock the checkpoint.
    let again = apply(writing).await;
    let happened = check_answer(case.expected, &answer, &again);
    // One of the two writes has happened.
    assert_eq!(state(watching).await, (at(9), vec!["a=three".to_owned(), "c=four".to_owned()]), "{happened}");
    for (rows, from) in [(writing, 9), (watching, 10)] {
        rows.apply(&things(), at(from), at(from + 1), vec![known("c", None)]).await.unwrap();
    }
    assert_eq!(state(writing).await, (at(11), vec!["a=three".to_owned()]));
    for process in [&subject, &observer] {
        let mut updates = process.store.watch_progress();
        updates
            .wait_for(|progress| progress.applied_position("things_1") == Position::new(11))
            .await
            .unwrap();
    }
}

/// Changes, inserts and deletes a row, which requires every command.
async fn apply(rows: &dyn ReadModelStore) -> Result<(), WriteError> {
    let changes = vec![known("a", Some("three")), known("b", None), change("c", Some("four"))];
    rows.apply(&things(), at(5), at(9), changes).await
}

/// Whether the first write happened: if and only if it did, its repetition conflicts.
fn check_answer(
    expected: ExpectedOutcome,
    answer: &Result<(), WriteError>,
    again: &Result<(), WriteError>,
) -> bool {
    let happened = match again {
        Err(WriteError::Conflict) => true,
        Ok(()) => false,
        Err(error) => panic!("the repeated write failed: {error}"),
    };
    // The error does not distinguish "not done" from "unknown"; the stored checkpoint does.
    let possible: &[Observed] = match (answer, happened) {
        (Ok(()), true) => &[Observed::Done],
        (Err(WriteError::Store(error)), true) if error.is_transient() => &[Observed::UnknownButDone],
        (Err(WriteError::Store(error)), false) if error.is_transient() => {
            &[Observed::NotDone, Observed::UnknownAndNotDone]
        }
        _ => panic!("the writer got {answer:?}, but happened: {happened}"),
    };
    assert!(possible.iter().any(|observed| expected.allows(*observed)), "{possible:?}: {answer:?}");
    happened
}

fn change(key: &str, label: Option<&str>) -> RowChange {
    let row = label.map(|label| json!({"id": key, "label": label}).as_object().unwrap().clone());
    RowChange { key: key.to_owned(), row, digest: None, existed: false }
}

fn known(key: &str, label: Option<&str>) -> RowChange {
    RowChange { existed: true, ..change(key, label) }
}

fn at(position: u64) -> ProjectionCheckpoint {
    ProjectionCheckpoint { position: Position::new(position), ..ProjectionCheckpoint::default() }
}

async fn state(rows: &dyn ReadModelStore) -> (ProjectionCheckpoint, Vec<String>) {
    let page = rows.row_page(&things(), None, 100).await.unwrap().rows;
    let text =
        |row: &store::Row| format!("{}={}", row["id"].as_str().unwrap(), row["label"].as_str().unwrap());
    (rows.checkpoint(&things()).await.unwrap(), page.iter().map(text).collect())
}
