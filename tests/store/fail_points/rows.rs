//! Writing rows of a read model, the commands of which fail, each in turn.

use serde_json::json;
use store::{ApplyError, Change, Checkpoint, Column, ColumnKind, Position, ReadModels, Shape, Table};
use testkit::MongodServer;

use super::fault::Fault::{
    Closed, Conflict, Interrupted, Silent, Slow, Transient, Unanswered, UnknownCommit, WriteConcern,
};
use super::fault::{Place, SUBJECT};
use super::run::Outcome::{self, Done, NotDone, Open, Unknown, UnknownButDone};
use super::run::{Case, LateRow, Row, Told, cases, try_all};
use crate::support::Mongo;

static SHAPE: Shape = Shape {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "label", kind: ColumnKind::Text },
    ],
    indexes: &["label"],
};

fn things() -> Table {
    Table::of("things", 1, &SHAPE)
}

/// The first command of the transaction.
const CHECKPOINT: Place = on("update", "checkpoints");
const NEW: Place = on("insert", "things_1");
const CHANGED: Place = on("update", "things_1");
const REMOVED: Place = on("delete", "things_1");
const COMMIT: Place = Place { command: "commitTransaction", collection: None };

const fn on(command: &'static str, collection: &'static str) -> Place {
    Place { command, collection: Some(collection) }
}

const ROWS: &[Row] = &[
    (CHECKPOINT, Transient, [Done, Done, NotDone]),
    (CHECKPOINT, UnknownCommit, [NotDone, NotDone, NotDone]),
    (CHECKPOINT, Conflict, [Done, Done, NotDone]),
    (CHECKPOINT, Interrupted, [Done, Done, NotDone]),
    (CHECKPOINT, Closed, [Done, Done, NotDone]),
    (CHECKPOINT, WriteConcern, [NotDone, NotDone, NotDone]),
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

const LATE_ROWS: &[LateRow] = &[
    (CHECKPOINT, Silent, NotDone),
    (NEW, Silent, NotDone),
    (CHANGED, Silent, NotDone),
    (REMOVED, Silent, NotDone),
    (COMMIT, Silent, Unknown),
    (COMMIT, Unanswered, UnknownButDone),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_befalls_the_writing_of_rows_they_and_their_checkpoint_move_together_or_not_at_all() {
    try_all(cases(ROWS, LATE_ROWS), attempt).await;
}

async fn attempt(server: &MongodServer, case: Case) {
    let mongo = Mongo::on(server);
    let (subject, observer) = (mongo.process(SUBJECT).await, mongo.process("observer").await);
    let (writing, watching) = (subject.rows(), observer.rows());
    for rows in [writing, watching] {
        rows.prepare(&things()).await.unwrap();
    }
    let before = [change("a", Some("one")), change("b", Some("two"))];
    writing.apply(&things(), at(0), at(5), before.into()).await.unwrap();

    let namespace = case.place.collection.map(|collection| mongo.namespace(collection));
    let fail_point = case.fault.set(server, case.failing, case.place, namespace).await;
    let answer = apply(writing).await;
    let met = fail_point.clear().await;
    assert!(met > 0, "the fault was not met");
    // Whatever was still under way is settled by this: no two transactions hold the checkpoint.
    let again = apply(writing).await;
    let happened = check_answer(case.expected, &answer, &again);
    // Now it has happened, the first time or the second.
    assert_eq!(state(watching).await, (at(9), vec!["a=three".to_owned(), "c=four".to_owned()]), "{happened}");
    for (rows, from) in [(writing, 9), (watching, 10)] {
        rows.apply(&things(), at(from), at(from + 1), vec![known("c", None)]).await.unwrap();
    }
    assert_eq!(state(writing).await, (at(11), vec!["a=three".to_owned()]));
    for process in [&subject, &observer] {
        let mut signals = process.store.signals();
        signals.wait_for(|signal| signal.projected("things_1") == Position::new(11)).await.unwrap();
    }
}

/// One row is changed, one new, one removed: every command is needed.
async fn apply(rows: &dyn ReadModels) -> Result<(), ApplyError> {
    let changes = vec![known("a", Some("three")), known("b", None), change("c", Some("four"))];
    rows.apply(&things(), at(5), at(9), changes).await
}

/// Whether it happened: then, and only then, the same asked for again is overtaken by it.
fn check_answer(expected: Outcome, answer: &Result<(), ApplyError>, again: &Result<(), ApplyError>) -> bool {
    let happened = match again {
        Err(ApplyError::Overtaken) => true,
        Ok(()) => false,
        Err(error) => panic!("it does not go on: {error}"),
    };
    // A failed writer is not told whether nobody can tell: the checkpoint, read again, does.
    let told: &[Told] = match (answer, happened) {
        (Ok(()), true) => &[Told::Done],
        (Err(ApplyError::Store(error)), true) if error.is_transient() => &[Told::UnknownButDone],
        (Err(ApplyError::Store(error)), false) if error.is_transient() => {
            &[Told::NotDone, Told::UnknownAndNotDone]
        }
        _ => panic!("the writer was told {answer:?}, but happened: {happened}"),
    };
    assert!(told.iter().any(|told| expected.allows(*told)), "{told:?}: {answer:?}");
    happened
}

fn change(key: &str, label: Option<&str>) -> Change {
    let row = label.map(|label| json!({"id": key, "label": label}).as_object().unwrap().clone());
    Change { key: key.to_owned(), row, known: false }
}

fn known(key: &str, label: Option<&str>) -> Change {
    Change { known: true, ..change(key, label) }
}

fn at(position: u64) -> Checkpoint {
    Checkpoint { position: Position::new(position), ..Checkpoint::default() }
}

async fn state(rows: &dyn ReadModels) -> (Checkpoint, Vec<String>) {
    let page = rows.slice(&things(), None, 100).await.unwrap().rows;
    let text =
        |row: &store::Row| format!("{}={}", row["id"].as_str().unwrap(), row["label"].as_str().unwrap());
    (rows.checkpoint(&things()).await.unwrap(), page.iter().map(text).collect())
}
